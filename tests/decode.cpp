// decode FILE...: reads each as an image and tells how that went; whatever it is, nothing crashes.

#include <cstdio>

#include "image.hpp"

int main(int count, char** words) {
    for (int i = 1; i < count; ++i) try {
            const vit::Picture picture = vit::load_image(words[i]);
            std::printf("read %lldx%lld\n", static_cast<long long>(picture.height),
                        static_cast<long long>(picture.width));
        } catch (const vit::Error& error) {
            std::printf("refused %s\n", error.what());
        }
}
