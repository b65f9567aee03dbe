// refusals MODEL: prints how the header of a project refuses the mistakes of its callers.

#include <cstdio>
#include <type_traits>

#include "vit.hpp"

static_assert(!std::is_copy_constructible_v<vit::Model> && std::is_move_constructible_v<vit::Model>);

int main(int, char** words) {
    vit::Model opened(words[1]), model = std::move(opened);
    model.warm_up(9, 7);
    const std::uint8_t levels[4] = {};
    const vit::Image wrong[] = {{levels, 1, 1, 4}, {levels, 0, 1}, {levels, 1, -1}, {nullptr, 1, 1}};
    for (const vit::Image& image : wrong) try {
            model.classify(image);
            std::puts("taken");
        } catch (const vit::Error& error) {
            std::puts(error.what());
        }
    std::printf("%zu classes\n", model.classify({levels, 2, 2}, 3).size());
}
