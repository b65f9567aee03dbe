// Runs a TorchScript file in LibTorch, with no Python anywhere in the process.
// libtorch FILE.pt C H W IMAGES.f32: reads fp32 images, prints one answer per line.

#include <torch/script.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

int main(int, char **argv) {
    torch::jit::Module module = torch::jit::load(argv[1]);
    std::ifstream file(argv[5], std::ios::binary);
    std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    torch::Tensor images =
        torch::from_blob(bytes.data(), static_cast<int64_t>(bytes.size() / sizeof(float)))
            .reshape({-1, std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4])});
    torch::NoGradGuard no_grad;
    torch::Tensor answers = module.forward({images}).toTensor().contiguous();
    for (int64_t row = 0; row < answers.size(0); ++row) {
        for (int64_t column = 0; column < answers.size(1); ++column)
            std::printf("%.9g ", answers[row][column].item<float>());
        std::printf("\n");
    }
}
