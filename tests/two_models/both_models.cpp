// both_models FIRST SECOND IMAGE LABELS: two generated headers in one source.

#include <first/image.hpp>
#include <second/image.hpp>

#include <cstdio>

int main(int, char** words) {
    vit::first::Model first(words[1], {0, words[4]});
    vit::second::Model second(words[2], {0, words[4]});
    const auto one = first.classify(vit::first::load_image(words[3]).view())[0];
    const auto two = second.classify(vit::second::load_image(words[3]).view())[0];
    std::printf("%s %.6f\n%s %.6f\n", one.name.c_str(), one.probability, two.name.c_str(),
                two.probability);
}
