// golden MODEL FOLDER LABELS: compares this program with Python.
//
// Each line of FOLDER/index.txt has the name of an image, the allowed error of the model's input,
// and the allowed error of the logarithm of a probability (0: the answer is not compared).

#include <cstdio>

#include "../image.hpp"

template <typename Kind>
std::vector<Kind> read(const std::string& path, std::size_t count) {
    std::vector<Kind> numbers(count);
    std::ifstream file(path, std::ios::binary);
    file.read(reinterpret_cast<char*>(numbers.data()), std::streamsize(count * sizeof(Kind)));
    if (!file || file.peek() != EOF) throw vit::Error(path + " has another length");
    if (!std::all_of(numbers.begin(), numbers.end(), [](double one) { return std::isfinite(one); }))
        throw vit::Error(path + " holds NaN or infinity");
    return numbers;
}

double input_off(const vit::Picture& picture, const std::string& path) {
{%- if preprocess %}
    std::vector<float> fed(vit::kChannels * vit::kHeight * vit::kWidth);
    vit::preprocess(picture.view(), fed.data());
{%- else %}
    const std::vector<std::uint8_t>& fed = picture.levels;
{%- endif %}
    const auto expected = read<@{number}@>(path, fed.size());
    double most = 0;
    for (std::size_t i = 0; i < fed.size(); ++i)
        most = std::max(most, std::abs(static_cast<double>(fed[i]) - expected[i]));
    return most;
}

/// Returns the @{"root mean square" if rms else "largest"}@ error of `found`, at its own classes and at the best ones.
double answer_off(const std::vector<vit::Class>& found, const std::string& path) {
    auto logits = read<float>(path, vit::kClasses), best = logits;
    std::sort(best.rbegin(), best.rend());
    double sum = 0, @{"squares" if rms else "most"}@ = 0;
    for (const float logit : best) sum += std::exp(double{logit} - best[0]);
    for (std::size_t i = 0; i < found.size(); ++i)
        for (const float logit : {logits.at(static_cast<std::size_t>(found[i].index)), best[i]}) {
            const double expected = std::max(double{logit} - best[0] - std::log(sum), @{least_log}@);
            const double answer = std::max(@{least_log}@, std::log(double{found[i].probability}));
            @{"squares += std::pow(answer - expected, 2) / 2" if rms else "most = std::max(most, std::abs(answer - expected))"}@;
        }
    return @{"std::sqrt(squares / static_cast<double>(found.size()))" if rms else "most"}@;
}

int main(int count, char** words) try {
    if (count != 4) throw vit::Error("golden MODEL FOLDER LABELS");
    int failures = 0, images = 0;
    const auto expect = [&failures](bool holds, const std::string& what) {
        failures += !holds;
        std::printf("%s  %s\n", holds ? "ok    " : "FAILED", what.c_str());
    };
    vit::Model opened(words[1], {0, words[3]}), model = std::move(opened);
    std::ifstream index(words[2] + std::string("/index.txt"));
    std::string name;
    double input_bound = 0, answer_bound = 0;
    for (; index >> name >> input_bound >> answer_bound; ++images) {
        const std::string path = words[2] + ("/" + name);
        vit::Picture picture = vit::load_image(path);
        double off = input_off(picture, path + ".input");
        expect(off <= input_bound, name + ": input off by " + std::to_string(off));
        if (answer_bound == 0) continue;
{%- if batches %}
        const std::vector<std::uint8_t> again = picture.levels;
        picture.levels.insert(picture.levels.end(), again.begin(), again.end());
{%- endif %}
        for (const auto& found : model.classify_batch(picture.view(), @{2 if batches else 1}@, vit::kClasses)) {
            off = answer_off(found, path + ".logits");
            expect(off <= answer_bound, name + ": answer off by " + std::to_string(off));
        }
    }
    expect(images == @{images}@, std::to_string(images) + " golden images");
    return failures ? 1 : 0;
} catch (const std::exception& error) {
    std::printf("FAILED  %s\n", error.what());
    return 1;
}
