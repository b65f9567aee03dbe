// golden MODEL FOLDER LABELS: holds this program against Python.
//
// Each line of FOLDER/index.txt is an image, how far what is fed of it may be off Python's, and how
// far the logarithm of a probability may be off eager PyTorch's (0: is not compared).

#include <cstdio>

#include "image.hpp"

namespace {

using Number = @{"float" if preprocess else "std::uint8_t"}@;
int failures = 0;

void expect(bool holds, const std::string& what) {
    failures += !holds;
    std::printf("%s  %s\n", holds ? "ok    " : "FAILED", what.c_str());
}

template <typename Kind>
std::vector<Kind> read(const std::string& path, std::size_t count) {
    std::vector<Kind> numbers(count);
    std::ifstream file(path, std::ios::binary);
    const auto bytes = static_cast<std::streamsize>(count * sizeof(Kind));
    file.read(reinterpret_cast<char*>(numbers.data()), bytes);
    if (!file || file.peek() != EOF) throw vit::Error(path + " has another length");
    return numbers;
}

double input_off(const vit::Picture& picture, const std::string& path) {
{%- if preprocess %}
    std::vector<float> fed(vit::kChannels * vit::kHeight * vit::kWidth);
    vit::preprocess(picture.view(), fed.data());
{%- else %}
    const std::vector<std::uint8_t>& fed = picture.levels;
{%- endif %}
    const auto expected = read<Number>(path, fed.size());
    double most = 0;
    for (std::size_t i = 0; i < fed.size(); ++i)
        most = std::max(most, std::abs(static_cast<double>(fed[i]) - expected[i]));
    return most;
}

/// How far @{"(root mean square) " if rms}@`found` is off, at its own classes and at the best ones.
double answer_off(const std::vector<vit::Class>& found, const std::string& path) {
    auto logits = read<float>(path, vit::kClasses), best = logits;
    std::sort(best.rbegin(), best.rend());
    double sum = 0, @{"squares" if rms else "most"}@ = 0;
    for (const float logit : best) sum += std::exp(double{logit} - best[0]);
    for (std::size_t i = 0; i < found.size(); ++i)
        for (const float logit : {logits.at(static_cast<std::size_t>(found[i].index)), best[i]}) {
            const double expected = std::max(double{logit} - best[0] - std::log(sum), -80.0);
            const double answer = std::max(std::log(double{found[i].probability}), -80.0);
            @{"squares += std::pow(answer - expected, 2) / 2" if rms else "most = std::max(most, std::abs(answer - expected))"}@;
        }
    return @{"std::sqrt(squares / static_cast<double>(found.size()))" if rms else "most"}@;
}

void compare(vit::Model& model, const std::string& folder) {
    std::ifstream index(folder + "/index.txt");
    std::string name;
    double input_bound = 0, answer_bound = 0;
    int images = 0;
    for (; index >> name >> input_bound >> answer_bound; ++images) {
        const std::string path = folder + "/" + name;
        const vit::Picture picture = vit::load_image(path);
        double off = input_off(picture, path + ".input");
        expect(off <= input_bound, name + ": input off by " + std::to_string(off));
        if (answer_bound == 0) continue;
        std::vector<std::uint8_t> levels = picture.levels;
{%- if batches %}
        levels.insert(levels.end(), picture.levels.begin(), picture.levels.end());
{%- endif %}
        const vit::Image first{levels.data(), picture.height, picture.width};
        for (const auto& found : model.classify_batch(first, @{2 if batches else 1}@, vit::kClasses)) {
            off = answer_off(found, path + ".logits");
            expect(off <= answer_bound, name + ": answer off by " + std::to_string(off));
        }
    }
    expect(images == @{images}@, std::to_string(images) + " golden images");
}

}  // namespace

int main(int count, char** words) try {
    if (count != 4) throw vit::Error("golden MODEL FOLDER LABELS");
    vit::Model opened(words[1], {0, words[3]}), model = std::move(opened);
    compare(model, words[2]);
    return failures ? 1 : 0;
} catch (const std::exception& error) {
    std::printf("FAILED  %s\n", error.what());
    return 1;
}
