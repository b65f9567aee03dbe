// Reads image files with stb_image, and refuses those that Pillow would read differently.

#pragma once

#include <iterator>
#include <memory>
#include <sstream>

#include "third_party/stb_image.h"
#include "vit.hpp"

namespace vit {

/// The pixels of an image file; `view` refers to them without a copy.
struct Picture {
    std::vector<std::uint8_t> levels;
    std::int64_t height, width;

    Image view() const { return {levels.data(), height, width, kChannels}; }
};

namespace detail {

/// Returns why an image file is refused; empty if it is not.
inline std::string objection(const std::string& file, const stbi_uc* bytes, int size) {
    int width = 0, height = 0, channels = 0;
    if (!stbi_info_from_memory(bytes, size, &width, &height, &channels))
        return "is no PNG, JPEG, BMP or PPM image, or is damaged";
    if (std::int64_t{width} * height > 89'478'485) return "has too many pixels";  // as Pillow says
    if (stbi_is_16_bit_from_memory(bytes, size)) return "has 16 bits a channel; make it 8";
    // The orientation in EXIF of either byte order, or in XMP: 0 and 1 are upright.
    const auto turned = [&file](const std::string& mark, char zero) {
        const std::size_t at = file.find(mark);
        return at != file.npos && file[at + mark.size()] - zero > 1;
    };
    if (turned({"\x12\x01\x03\0\x01\0\0\0", 8}, 0) ||
        turned({"\x01\x12\0\x03\0\0\0\x01\0", 9}, 0) || turned("tiff:Orientation=\"", '0') ||
        turned("tiff:Orientation>", '0') || file.find("Raw profile type exif") != file.npos)
        return "may be turned by its EXIF or XMP data; save it upright, without";
    if (file[0] == 'P') {  // stb_image checks neither the maximum nor the length
        const std::int64_t wanted = std::int64_t{width} * height * channels;
        std::istringstream header(file.substr(2, 1024));
        int highest = 0;
        for (int* number : {&width, &height, &highest}) {
            while ((header >> std::ws).peek() == '#') header.ignore(1024, '\n');
            header >> *number;
        }
        if (highest != 255) return "has other levels than 0 to 255";
        if (header.get() == EOF || size - 2 - header.tellg() < wanted) return "is cut";
    }
    // stb_image fills the missing part of a cut JPEG with grey. A whole JPEG has an end marker
    // after its last scan; if a film follows (a motion photo), that is unknown and it is refused.
    if (file[0] == '\xFF' && file.rfind("\xFF\xD9") + 1 <= file.rfind("\xFF\xDA") + 1)
        return "is cut";
    return "";
}

}  // namespace detail

/// Reads the image file at `path`; the pixels of a JPEG may differ a little from Pillow's.
inline Picture load_image(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream || !std::filesystem::is_regular_file(path)) throw Error(path + ": no such image");
    const std::string file{std::istreambuf_iterator<char>(stream), {}};
    const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
    const int size = static_cast<int>(std::min<std::size_t>(file.size(), 1 << 30));
    const std::string wrong = detail::objection(file, bytes, size);
    if (!wrong.empty()) throw Error(path + " " + wrong);
    int width = 0, height = 0, found = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
        stbi_load_from_memory(bytes, size, &width, &height, &found, 3), stbi_image_free);
    if (!decoded) throw Error(path + " can't be decoded: " + stbi_failure_reason());
    const stbi_uc *level = decoded.get(), *end = level + std::int64_t{3} * width * height;
{%- if channels == 3 %}
    return {{level, end}, height, width};
{%- else %}
    Picture picture{{}, height, width};
    for (; level < end; level += 3)  // grey with the weights of Pillow
        picture.levels.push_back(static_cast<std::uint8_t>(
            (level[0] * 19595 + level[1] * 38470 + level[2] * 7471 + 0x8000) >> 16));
    return picture;
{%- endif %}
}

}  // namespace vit
