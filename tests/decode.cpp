// decode FILE...: reads each file as an image and prints the outcome; no file may crash it.
// The pixels of an image go into FILE.levels.

#include <cstdio>

#include "image.hpp"

int main(int count, char** words) {
    for (int i = 1; i < count; ++i) try {
            const vit::DecodedImage picture = vit::load_image(words[i]);
            std::ofstream(words[i] + std::string(".levels"), std::ios::binary)
                .write(reinterpret_cast<const char*>(picture.pixels.data()),
                       static_cast<std::streamsize>(picture.pixels.size()));
            std::printf("read %lldx%lld\n", static_cast<long long>(picture.height),
                        static_cast<long long>(picture.width));
        } catch (const vit::Error& error) {
            std::printf("refused %s\n", error.what());
        }
}
