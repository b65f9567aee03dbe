// plain MODEL HEIGHT WIDTH CHANNELS THREADS: a minimal program that runs such a file once.

#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <vector>

int main(int, char** words) {
    const std::array<std::int64_t, 4> shape{1, std::atoi(words[2]), std::atoi(words[3]),
                                            std::atoi(words[4])};
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(shape[1] * shape[2] * shape[3]));
    Ort::Env env;
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(std::atoi(words[5]));
    Ort::Session session(env, words[1], options);
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto image = Ort::Value::CreateTensor(memory, pixels.data(), pixels.size(), shape.data(),
                                                shape.size());
    const char *inputs[] = {"image"}, *outputs[] = {"classes", "scores"};
    session.Run({}, inputs, &image, 1, outputs, 2);
}
