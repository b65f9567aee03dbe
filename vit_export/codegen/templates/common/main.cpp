// classify MODEL IMAGE [--top N] [--labels FILE] [--threads N]

#include <chrono>
#include <cstdio>
#include <map>

#include "image.hpp"

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void run(const std::vector<std::string>& words) {
    std::map<std::string, std::string> given{{"--top", "5"}, {"--labels", ""}, {"--threads", "0"}};
    if (words.size() < 2 || words.size() % 2) throw std::invalid_argument("words");
    for (std::size_t i = 2; i < words.size(); i += 2) given.at(words[i]) = words[i + 1];
    const int top = std::stoi(given["--top"]), threads = std::stoi(given["--threads"]);
    if (top < 1 || threads < 0) throw std::out_of_range("numbers");

    auto start = Clock::now();
    vit::Model model(words[0], {threads, given["--labels"]});
    const double load_ms = milliseconds_since(start);
    start = Clock::now();
    const vit::Picture picture = vit::load_image(words[1]);
    const double decode_ms = milliseconds_since(start);
    start = Clock::now();
    const auto found = model.classify(picture.view(), static_cast<std::size_t>(top));
    const double classify_ms = milliseconds_since(start);
    for (const vit::Class& one : found)
        std::printf("%6.2f%%  %s\n", 100.0 * one.probability, one.name.c_str());
    std::printf("load %.1f ms, decode %.1f, classify %.1f\n", load_ms, decode_ms, classify_ms);
}

}  // namespace

int main(int count, char** words) try {
    run({words + 1, words + count});
} catch (const std::logic_error&) {  // of numbers and of names that are none
    std::fprintf(stderr, "Error: classify MODEL IMAGE [--top N] [--labels FILE] [--threads N]\n");
    return 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "Error: %s\n", error.what());
    return 1;
}
