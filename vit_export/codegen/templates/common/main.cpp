// classify MODEL IMAGE [--top N] [--labels FILE] [--threads N] [--warm-up N]

#include <chrono>
#include <cstdio>
#include <map>
#include <utility>

#include "image.hpp"

int main(int count, char** given) try {
    const std::vector<std::string> words(given + 1, given + count);
    std::map<std::string, std::string> options{
        {"--top", "5"}, {"--labels", ""}, {"--threads", "0"}, {"--warm-up", "0"}};
    if (words.size() < 2 || words.size() % 2) throw std::invalid_argument("words");
    for (std::size_t i = 2; i < words.size(); i += 2) options.at(words[i]) = words[i + 1];
    const auto number = [&options](const char* name, int least) {
        const int n = std::stoi(options.at(name));
        if (n < least || std::to_string(n) != options.at(name)) throw std::out_of_range(name);
        return n;
    };
    const int top = number("--top", 1), threads = number("--threads", 0);
    const int warm_up = number("--warm-up", 0);

    auto lap = [start = std::chrono::steady_clock::now()](const char* name) mutable {
        const auto now = std::chrono::steady_clock::now(), begin = std::exchange(start, now);
        const std::chrono::duration<double, std::milli> taken = now - begin;
        std::printf("%s %.1f ms\n", name, taken.count());
    };
    vit::Model model(words[0], {threads, options.at("--labels")});
    lap("load");
    const vit::Picture picture = vit::load_image(words[1]);
    lap("decode");
    for (int i = 0; i < warm_up; ++i) model.warm_up(picture.height, picture.width);
    lap("warm up");
    const auto found = model.classify(picture.view(), static_cast<std::size_t>(top));
    lap("classify");
    for (const vit::Class& one : found)
        std::printf("%6.2f%%  %s\n", 100.0 * one.probability, one.name.c_str());
} catch (const std::logic_error&) {  // an unknown option, or no number
    std::fputs("Error: give MODEL IMAGE [--top N] [--labels FILE] [--threads N] [--warm-up N]\n",
               stderr);
    return 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "Error: %s\n", error.what());
    return 1;
}
