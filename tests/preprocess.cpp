// preprocess H W < pixels > numbers: what the header of a project computes from an image.

#include <cstdio>
#include <cstdlib>

#include "vit.hpp"

int main(int, char** words) {
    const vit::Image image{nullptr, std::atoi(words[1]), std::atoi(words[2])};
    std::vector<std::uint8_t> levels(static_cast<std::size_t>(image.height * image.width * vit::kChannels));
    std::vector<float> input(vit::kChannels * vit::kHeight * vit::kWidth);
    if (std::fread(levels.data(), 1, levels.size(), stdin) != levels.size()) return 1;
    vit::preprocess({levels.data(), image.height, image.width}, input.data());
    std::fwrite(input.data(), sizeof(float), input.size(), stdout);
}
