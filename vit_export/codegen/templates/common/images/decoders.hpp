// What the libraries for PNG and JPEG have to do: libraries.cpp or stb.cpp does it.

#ifndef VIT_@{name}@_@{id}@_DECODERS_HPP
#define VIT_@{name}@_@{id}@_DECODERS_HPP

#include <string_view>

#include "../image.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {
namespace detail {

using Samples = std::vector<std::uint8_t>;  // 8 bits each, row by row

constexpr std::int64_t kMaxPixels = 89'478'485;  // as in Pillow
constexpr std::size_t kMaxText = 1 << 20;        // bytes of a text in a PNG, as in Pillow

constexpr const char* kBadZlib = "has compressed data that are damaged or too long";

/// The header of a JPEG file, up to its first scan.
struct JpegHeader {
    struct Component {
        int id, horizontal, vertical;  // sampling factors
    };
    std::int64_t height = 0, width = 0;
    bool baseline = false, jfif = false;
    int adobe_transform = -1;  // -1: there is no Adobe marker
    std::int64_t restart_interval = 0;
    std::vector<Component> components;
    std::string exif;  // of all segments, which Pillow joins
    std::size_t scan_components = 0, scan_begin = 0;
};

/// Decodes a PNG of `channels` (grey, grey and alpha, RGB or RGBA) that has no other chunks than
/// IHDR, IDAT and IEND.
Samples decode_png(const std::string& png, std::int64_t height, std::int64_t width, int channels);

/// Decodes a JPEG to grey, RGB, or CMYK as it is stored.
Samples decode_jpeg(const std::string& file, const JpegHeader& header);

/// Returns decompressed zlib data of at most `most` bytes; refuses a wrong checksum.
std::string inflate(std::string_view compressed, std::size_t most);

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit

#endif
