// golden MODEL FOLDER@{" LABELS" if classes}@: compares the inputs and answers of C++ with those of Python.
//
// Each line of FOLDER/index.txt has the name of an image, the allowed error of the model's input,
// and the allowed error of @{compared}@ (0: @{"the answer" if classes else "they are"}@@{" is" if classes}@ not compared).

#include <cstdio>

#include "../image.hpp"
#include "../printable.hpp"

template <typename Number>
std::vector<Number> read(const std::string& path, std::size_t count) {
    std::vector<Number> numbers(count);
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char*>(numbers.data()), std::streamsize(count * sizeof(Number)));
    if (!file || file.peek() != EOF) throw vit::Error(path + " has another length");
    if (!std::all_of(numbers.begin(), numbers.end(), [](double one) { return std::isfinite(one); }))
        throw vit::Error(path + " holds NaN or infinity");
    return numbers;
}

double input_error(const vit::DecodedImage& image, const std::string& path) {
{%- if preprocess %}
    std::vector<float> input(vit::kChannels * vit::kHeight * vit::kWidth);
    vit::preprocess(image.view(), input.data());
{%- else %}
    const std::vector<std::uint8_t>& input = image.pixels;
{%- endif %}
    const auto expected = read<@{number}@>(path, input.size());
    double largest = 0;
    for (std::size_t i = 0; i < input.size(); ++i)
        largest = std::max(largest, std::abs(static_cast<double>(input[i]) - expected[i]));
    return largest;
}

{%- if not classes %}

/// Returns the @{"root mean square" if rms else "largest"}@ error of each output, in the row where it is largest.
std::vector<double> output_errors(const std::vector<vit::Output>& outputs, const std::string& path) {
    std::vector<std::size_t> sizes;
    for (const vit::Output& one : outputs)
        sizes.push_back(one.values.size() / static_cast<std::size_t>(one.shape[0]));
    const auto expected = read<float>(path, std::accumulate(sizes.begin(), sizes.end(), std::size_t{0}));
    std::vector<double> errors;
    std::size_t first = 0;  // of this output in `expected`
    for (std::size_t i = 0; i < outputs.size(); first += sizes[i++]) {
        double worst = 0;
        for (std::size_t row = 0; row < outputs[i].values.size(); row += sizes[i]) {
            double @{"squares" if rms else "largest"}@ = 0;
            for (std::size_t j = 0; j < sizes[i]; ++j) {
                const double error = double{outputs[i].values[row + j]} - expected[first + j];
                @{"squares += error * error" if rms else "largest = std::max(largest, std::abs(error))"}@;
            }
            worst = std::max(worst, @{"std::sqrt(squares / static_cast<double>(sizes[i]))" if rms else "largest"}@);
        }
        errors.push_back(worst);
    }
    return errors;
}
{%- elif regression %}

/// Returns the @{"root mean square" if rms else "largest"}@ error of `answer`.
double answer_error(const std::vector<vit::Value>& answer, const std::string& path) {
    const auto logits = read<float>(path, vit::kClasses);
    double @{"squares" if rms else "largest"}@ = 0;
    for (std::size_t i = 0; i < answer.size(); ++i) {
        const double error = double{answer[i].value} - logits.at(i);
        @{"squares += error * error" if rms else "largest = std::max(largest, std::abs(error))"}@;
    }
    return @{"std::sqrt(squares / static_cast<double>(answer.size()))" if rms else "largest"}@;
}
{%- elif function == "sigmoid" %}

/// Returns the logit of `probability`: of all that round to it the one next to `expected`.
double recover_logit(double probability, double expected) {
    const double right = 1 / (1 + std::exp(-expected));
    const double nearest = std::clamp(right, probability * (1 - @{rounding}@), probability * (1 + @{rounding}@));
    if (!(nearest > 0)) return @{least_log}@;
    if (nearest >= 1) return @{most_logit}@;
    if (nearest == right) return expected;
    return std::clamp(std::log(nearest) - std::log1p(-nearest), @{least_log}@, @{most_logit}@);
}

/// Returns the @{"root mean square" if rms else "largest"}@ error of the logits of `answer`, at its own classes and at the expected ones.
double answer_error(const std::vector<vit::Class>& answer, const std::string& path) {
    auto logits = read<float>(path, vit::kClasses), best = logits;
    std::sort(best.rbegin(), best.rend());
    double @{"squares" if rms else "largest"}@ = 0;
    for (std::size_t i = 0; i < answer.size(); ++i)
        for (const float logit : {logits.at(static_cast<std::size_t>(answer[i].index)), best[i]}) {
            const double expected = std::clamp(double{logit}, @{least_log}@, @{most_logit}@);
            const double actual = recover_logit(double{answer[i].probability}, expected);
            @{"squares += std::pow(actual - expected, 2) / 2" if rms else "largest = std::max(largest, std::abs(actual - expected))"}@;
        }
    return @{"std::sqrt(squares / static_cast<double>(answer.size()))" if rms else "largest"}@;
}
{%- else %}

/// Returns the @{"root mean square" if rms else "largest"}@ error of `answer`, at its own classes and at the expected ones.
double answer_error(const std::vector<vit::Class>& answer, const std::string& path) {
    auto logits = read<float>(path, vit::kClasses), best = logits;
    std::sort(best.rbegin(), best.rend());
    double sum = 0, @{"squares" if rms else "largest"}@ = 0;
    for (const float logit : best) sum += std::exp(double{logit} - best[0]);
    for (std::size_t i = 0; i < answer.size(); ++i)
        for (const float logit : {logits.at(static_cast<std::size_t>(answer[i].index)), best[i]}) {
            const double expected = std::max(double{logit} - best[0] - std::log(sum), @{least_log}@);
            const double actual = std::max(@{least_log}@, std::log(double{answer[i].probability}));
            @{"squares += std::pow(actual - expected, 2) / 2" if rms else "largest = std::max(largest, std::abs(actual - expected))"}@;
        }
    return @{"std::sqrt(squares / static_cast<double>(answer.size()))" if rms else "largest"}@;
}
{%- endif %}

int main(int argc, char** argv) try {
    if (argc != @{4 if classes else 3}@) throw vit::Error("golden MODEL FOLDER@{" LABELS" if classes}@");
    int failures = 0, images = 0;
    const auto expect = [&failures](bool passes, const std::string& check) {
        failures += !passes;
        std::printf("%s  %s\n", passes ? "ok    " : "FAILED", make_printable(check).c_str());
    };
    std::printf("images are decoded by %s\n", vit::decoder_names().c_str());
    vit::Model original(argv[1]@{", {0, argv[3]}" if classes}@), model = std::move(original);
    std::ifstream index(argv[2] + std::string("/index.txt"));
    std::string name;
{%- if classes %}
    double input_bound = 0, answer_bound = 0;
    for (; index >> name >> input_bound >> answer_bound; ++images) {
{%- else %}
    double input_bound = 0;
    std::vector<double> bounds(vit::kOutputs.size());
    for (; index >> name >> input_bound; ++images) {
        for (double& bound : bounds) index >> bound;
{%- endif %}
        const std::string path = argv[2] + ("/" + name);
        vit::DecodedImage image = vit::load_image(path);
        double error = input_error(image, path + ".input");
        expect(error <= input_bound, name + ": input off by " + std::to_string(error));
        if (@{"answer_bound" if classes else "bounds[0]"}@ == 0) continue;
{%- if batches %}
        const std::vector<std::uint8_t> copy = image.pixels;
        image.pixels.insert(image.pixels.end(), copy.begin(), copy.end());
{%- endif %}
{%- if classes %}
        for (const auto& answer : model.@{"predict_batch" if regression else "classify_batch"}@(image.view(), @{2 if batches else 1}@@{", vit::kClasses" if not regression}@)) {
            error = answer_error(answer, path + ".logits");
            expect(error <= answer_bound, name + ": answer off by " + std::to_string(error));
        }
{%- else %}
        const auto errors = output_errors(model.run_batch(image.view(), @{2 if batches else 1}@), path + ".outputs");
        for (std::size_t i = 0; i < bounds.size(); ++i)
            expect(errors[i] <= bounds[i],
                   name + ": " + vit::kOutputs[i].first + " off by " + std::to_string(errors[i]));
{%- endif %}
    }
    expect(images == @{images}@, std::to_string(images) + " golden images");
    return failures ? 1 : 0;
} catch (const std::exception& error) {
    std::printf("FAILED  %s\n", make_printable(error.what(), true).c_str());
    return 1;
}
