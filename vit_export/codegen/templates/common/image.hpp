// Reads image files with stb_image, and refuses those that Pillow would read differently.

#pragma once

#include <iterator>
#include <memory>
#include <sstream>

#include "third_party/stb_image.h"
#include "vit.hpp"

namespace vit {

/// The pixels of an image file; `view` refers to them without a copy.
struct DecodedImage {
    std::vector<std::uint8_t> pixels;
    std::int64_t height, width;

    Image view() const { return {pixels.data(), height, width, kChannels}; }
};

namespace detail {

/// Returns why an image file is refused; empty if it is not.
inline std::string find_problem(const std::string& file, const stbi_uc* bytes, int size) {
    int width = 0, height = 0, channels = 0;
    if (!stbi_info_from_memory(bytes, size, &width, &height, &channels))
        return "is no PNG, JPEG, BMP or PPM image, or is damaged";
    if (std::int64_t{width} * height > 89'478'485) return "has too many pixels";  // as Pillow says
    if (stbi_is_16_bit_from_memory(bytes, size)) return "has 16 bits per channel; save it with 8";
    // The orientation in EXIF of either byte order, or in XMP: 0 and 1 are upright.
    const auto rotates = [&file](const std::string& mark, char zero) {
        const std::size_t at = file.find(mark);
        return at != file.npos && file[at + mark.size()] - zero > 1;
    };
    if (rotates({"\x12\x01\x03\0\x01\0\0\0", 8}, 0) ||
        rotates({"\x01\x12\0\x03\0\0\0\x01\0", 9}, 0) || rotates("tiff:Orientation=\"", '0') ||
        rotates("tiff:Orientation>", '0') || file.find("Raw profile type exif") != file.npos)
        return "may be rotated by its EXIF or XMP data; save it upright, without that data";
    if (file[0] == 'P') {  // stb_image checks neither the maximum nor the length
        const std::int64_t length = std::int64_t{width} * height * channels;
        std::istringstream header(file.substr(2, 1024));
        int highest = 0;
        for (int* number : {&width, &height, &highest}) {
            while ((header >> std::ws).peek() == '#') header.ignore(1024, '\n');
            header >> *number;
        }
        if (highest != 255) return "has another maximum than 255";
        if (header.get() == EOF || size - 2 - header.tellg() < length) return "is truncated";
    }
    // stb_image fills the missing part of a truncated JPEG with grey. A whole JPEG has an end
    // marker after its last scan. In a motion photo a video may hide it, so that is refused too.
    if (file[0] == '\xFF' && file.rfind("\xFF\xD9") + 1 <= file.rfind("\xFF\xDA") + 1)
        return "is truncated";
    return "";
}

}  // namespace detail

/// Reads the image file at `path`; the pixels of a JPEG may differ a little from Pillow's.
inline DecodedImage load_image(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream || !std::filesystem::is_regular_file(path)) throw Error(path + ": no such image");
    const std::string file{std::istreambuf_iterator<char>(stream), {}};
    const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
    const int size = static_cast<int>(std::min<std::size_t>(file.size(), 1 << 30));
    const std::string problem = detail::find_problem(file, bytes, size);
    if (!problem.empty()) throw Error(path + " " + problem);
    int width = 0, height = 0, channels = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
        stbi_load_from_memory(bytes, size, &width, &height, &channels, 3), stbi_image_free);
    if (!decoded) throw Error(path + " can't be decoded: " + stbi_failure_reason());
    const stbi_uc *pixel = decoded.get(), *end = pixel + std::int64_t{3} * width * height;
{%- if channels == 3 %}
    return {{pixel, end}, height, width};
{%- else %}
    DecodedImage image{{}, height, width};
    for (; pixel < end; pixel += 3)  // grey with the weights of Pillow
        image.pixels.push_back(static_cast<std::uint8_t>(
            (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16));
    return image;
{%- endif %}
}

}  // namespace vit
