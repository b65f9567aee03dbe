// @{program}@ MODEL IMAGE@{usage}@ [--threads N] [--warm-up N]

#include <chrono>
#include <cstdio>
#include <map>
#include <utility>

#include "image.hpp"
#include "printable.hpp"

int main(int argc, char** argv) try {
    const std::vector<std::string> args(argv + 1, argv + argc);
    std::map<std::string, std::string> options{
        @{'{"--top", "5"}, ' if ranks}@@{'{"--labels", ""}, ' if classes}@{"--threads", "0"}, {"--warm-up", "0"}};
    if (args.size() < 2 || args.size() % 2) throw std::invalid_argument("arguments");
    for (std::size_t i = 2; i < args.size(); i += 2) options.at(args[i]) = args[i + 1];
    const auto parse = [&options](const char* name, int minimum) {
        const int n = std::stoi(options.at(name));
        if (n < minimum || std::to_string(n) != options.at(name)) throw std::out_of_range(name);
        return n;
    };
{%- if not ranks %}
    const int threads = parse("--threads", 0), warm_up = parse("--warm-up", 0);
{%- else %}
    const int top = parse("--top", 1), threads = parse("--threads", 0);
    const int warm_up = parse("--warm-up", 0);
{%- endif %}

    auto print_lap = [start = std::chrono::steady_clock::now()](const char* name) mutable {
        const auto now = std::chrono::steady_clock::now(), begin = std::exchange(start, now);
        const std::chrono::duration<double, std::milli> elapsed = now - begin;
        std::printf("%s %.1f ms\n", name, elapsed.count());
    };
    vit::Model model(args[0], {threads@{', options.at("--labels")' if classes}@});
    print_lap("load");
    const vit::DecodedImage image = vit::load_image(args[1]);
    print_lap("decode");
    for (int i = 0; i < warm_up; ++i) model.warm_up(image.height, image.width);
    print_lap("warm up");
{%- if not classes %}
    const auto outputs = model.run(image.view());
    print_lap("run");
    for (const vit::Output& one : outputs) {
        std::printf("%s", make_printable(one.name).c_str());
        for (const std::int64_t side : one.shape) std::printf(" %lld", static_cast<long long>(side));
        std::printf(":");
        for (std::size_t i = 0; i < std::min<std::size_t>(5, one.values.size()); ++i)
            std::printf(" %g", double{one.values[i]});
        std::printf("\n");
    }
{%- elif regression %}
    const auto values = model.predict(image.view());
    print_lap("predict");
    for (const vit::Value& one : values)
        std::printf("%g  %s\n", double{one.value}, make_printable(one.name).c_str());
{%- else %}
    const auto classes = model.classify(image.view(), static_cast<std::size_t>(top));
    print_lap("classify");
    for (const vit::Class& one : classes)
        std::printf("%6.2f%%  %s\n", 100.0 * one.probability, make_printable(one.name).c_str());
{%- endif %}
} catch (const std::logic_error&) {  // an unknown option, or a value that is no number
    std::fputs("Error: give MODEL IMAGE@{usage}@ [--threads N] [--warm-up N]\n",
               stderr);
    return 2;
} catch (const std::exception& error) {
    std::fprintf(stderr, "Error: %s\n", make_printable(error.what(), true).c_str());
    return 1;
}
