// PNG and baseline JPEG by stb_image, for a build without libpng and libjpeg.
//
// stb_image fills missing parts of a JPEG and does not notice much damage, so that this file counts
// what it decodes, and refuses what is not certain to be as in libjpeg.

#if defined(_MSC_VER)
#pragma warning(push, 0)
#elif defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#define STBI_NO_STDIO
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include "../third_party/stb_image.h"
#if defined(_MSC_VER)
#pragma warning(pop)
#elif defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include "bytes.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {

std::string decoder_names() { return "stb_image"; }

namespace detail {
namespace {

constexpr int kMaxCoefficient = 2048;  // the transform of 8-bit samples, with room for rounding
constexpr int kMaxDcCode = 15;          // bits of a difference
constexpr int kMaxFactor = 255;         // of a quantization table in baseline JPEG
using Decoded = std::unique_ptr<stbi_uc, void (*)(void*)>;

/// The JPEG that this thread decodes; stb_image hands no context to its functions.
struct Progress {
    stbi__jpeg jpeg{};
    std::int64_t blocks = 0;
    bool damaged = false;
    void (*transform)(stbi_uc*, int, short*) = nullptr;
};
thread_local Progress* progress = nullptr;

/// Counts a block, and notes whether it is made of bits that the file does not have.
void transform_block(stbi_uc* out, int stride, short coefficients[64]) {
    const auto fits = [](short one) { return std::abs(one) <= kMaxCoefficient; };
    progress->damaged |= !std::all_of(coefficients, coefficients + 64, fits) ||
                         progress->jpeg.code_bits < progress->jpeg.padding;
    ++progress->blocks;
    progress->transform(out, stride, coefficients);
}

std::int64_t divide_up(std::int64_t number, std::int64_t divisor) {
    return (number + divisor - 1) / divisor;
}

/// The restart markers of the only scan have to be complete and in order, and the end to follow.
void check_scan(const std::string& file, const JpegHeader& header, std::int64_t units) {
    std::int64_t restarts = 0;
    std::size_t at = header.scan_begin;
    for (; at + 1 < file.size(); ++at) {
        const int marker = static_cast<unsigned char>(file[at + 1]);
        if (file[at] != '\xFF' || marker == 0 || marker == 0xFF) continue;
        if (marker < 0xD0 || marker > 0xD7) break;
        if (marker != 0xD0 + restarts++ % 8) throw Error("is a damaged JPEG: restart markers");
    }
    if (file.compare(at, 2, "\xFF\xD9")) throw Error("is truncated, or a JPEG of several scans");
    const std::int64_t every = header.restart_interval;
    if (restarts != (every ? divide_up(units, every) - 1 : 0))
        throw Error("is a damaged JPEG: restart markers");
}

/// Returns the number of blocks of the only scan; refuses what libjpeg might read differently.
std::int64_t check_jpeg(const std::string& file, const JpegHeader& header) {
    const auto& parts = header.components;
    const std::string fix = "; a program built with libjpeg reads it";
    if (!header.baseline) throw Error("is a progressive JPEG" + fix);
    if (parts.size() == 4) throw Error("is a CMYK JPEG" + fix);
    if (header.scan_components != parts.size()) throw Error("is a JPEG of several scans" + fix);
    const bool rgb_names = parts.size() == 3 && parts[0].id == 'R' && parts[1].id == 'G' &&
                           parts[2].id == 'B';
    const bool rgb = !header.jfif && header.adobe_transform == 0;
    if (parts.size() == 3 && (rgb_names || rgb) &&
        (header.jfif || (header.adobe_transform < 0 ? !rgb_names : header.adobe_transform != 0)))
        throw Error("is a JPEG of unclear colours" + fix);
    std::int64_t blocks = 0, across = 1, down = 1;
    for (const auto& one : parts) {
        const bool first = &one == parts.data();
        if (one.horizontal > (first ? 2 : 1) || one.vertical > (first ? 2 : 1))
            throw Error("is a JPEG of rare sampling factors" + fix);
        blocks += one.horizontal * one.vertical;
        across = std::max<std::int64_t>(across, one.horizontal);
        down = std::max<std::int64_t>(down, one.vertical);
    }
    if (parts.size() == 1) blocks = across = down = 1;
    const std::int64_t units =
        divide_up(header.width, 8 * across) * divide_up(header.height, 8 * down);
    check_scan(file, header, units);
    return units * blocks;
}

/// Returns whether libjpeg takes a Huffman table: it has codes, none of them all ones.
bool is_valid(const stbi__huffman& table, int largest) {
    bool valid = table.size[0] > 0;
    for (std::size_t i = 0; i < std::size(table.values) && table.size[i]; ++i)
        valid &= table.values[i] <= largest && table.code[i] + 1 < 1 << table.size[i];
    return valid;
}

/// Returns whether the scan names each component once, and only tables that the file has; stb_image
/// decodes without them.
bool scan_is_valid(const stbi__jpeg& jpeg) {
    for (int i = 0; i < jpeg.s->img_n; ++i) {
        const auto& component = jpeg.img_comp[jpeg.order[i]];
        const auto* factors = jpeg.dequant[component.tq];
        const int largest = *std::max_element(factors, factors + 64);
        if (jpeg.order[i] != i || largest < 1 || largest > kMaxFactor ||
            !is_valid(jpeg.huff_dc[component.hd], kMaxDcCode) ||
            !is_valid(jpeg.huff_ac[component.ha], 255))
            return false;
    }
    return true;
}

std::uint32_t compute_adler32(std::string_view bytes) {
    std::uint32_t low = 1, high = 0;
    for (const char byte : bytes) {
        low = (low + static_cast<unsigned char>(byte)) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}

Samples take(const Decoded& decoded, std::int64_t size) {
    const char* reason = stbi_failure_reason();  // stb_image does not always give one
    if (!decoded) throw Error(std::string("can't be decoded: ") + (reason ? reason : "it is damaged"));
    return {decoded.get(), decoded.get() + size};
}

}  // namespace

Samples decode_png(const std::string& png, std::int64_t height, std::int64_t width, int channels) {
    int decoded_width = 0, decoded_height = 0, actual = 0;
    const Decoded decoded(
        stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(png.data()),
                              static_cast<int>(png.size()), &decoded_width, &decoded_height,
                              &actual, channels),
        stbi_image_free);
    return take(decoded, height * width * channels);
}

Samples decode_jpeg(const std::string& file, const JpegHeader& header) {
    const std::int64_t blocks = check_jpeg(file, header);
    const int channels = static_cast<int>(header.components.size());
    const auto state = std::make_unique<Progress>();
    stbi__context context;
    stbi__start_mem(&context, reinterpret_cast<const stbi_uc*>(file.data()),
                    static_cast<int>(file.size()));
    state->jpeg.s = &context;
    stbi__setup_jpeg(&state->jpeg);
    state->transform = std::exchange(state->jpeg.idct_block_kernel, transform_block);
    progress = state.get();
    stbi__g_failure_reason = nullptr;  // that of an earlier image
    int width = 0, height = 0, actual = 0;
    const Decoded decoded(load_jpeg_image(&state->jpeg, &width, &height, &actual, channels),
                          stbi_image_free);
    progress = nullptr;
    Samples samples = take(decoded, header.height * header.width * channels);
    if (state->damaged || state->blocks != blocks || !scan_is_valid(state->jpeg)) throw Error("is a damaged JPEG");
    return samples;
}

std::string inflate(std::string_view compressed, std::size_t most) {
    std::string data(most, '\0');
    const int size = stbi_zlib_decode_buffer(data.data(), static_cast<int>(most), compressed.data(),
                                             static_cast<int>(compressed.size()));
    if (size < 0 || compressed.size() < 4) throw Error(kBadZlib);
    data.resize(static_cast<std::size_t>(size));
    const std::uint32_t sum = read_number(compressed, compressed.size() - 4, 4, Order::big);
    if (compute_adler32(data) != sum) throw Error(kBadZlib);  // stb_image ignores it
    return data;
}

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit
