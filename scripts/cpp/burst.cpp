// burst MODEL IMAGE THREADS: for each N on stdin classifies N times, and prints each time in ms.

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "image.hpp"

int main(int, char** words) {
    vit::Options options;
    options.threads = std::atoi(words[3]);
    vit::Model model(words[1], options);
    const vit::DecodedImage image = vit::load_image(words[2]);
    std::cout << "ready" << std::endl;
    for (int calls = 0; std::cin >> calls; std::cout << std::endl)
        for (int i = 0; i < calls; ++i) {
            const auto start = std::chrono::steady_clock::now();
            model.classify(image.view());
            const std::chrono::duration<double, std::milli> elapsed =
                std::chrono::steady_clock::now() - start;
            std::cout << elapsed.count() << ' ';
        }
}
