// A function of the name ANSWER that prints the best class of an image, by the header of one model.

#include <cstdio>

#include "image.hpp"

void ANSWER(const char* file, const char* image, const char* labels) {
    vit::Model model(file, {0, labels});
    const auto best = model.classify(vit::load_image(image).view())[0];
    std::printf("%s %.6f\n", best.name.c_str(), best.probability);
}
