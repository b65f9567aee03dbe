// Image files as levels, decoded by stb_image; what can't be read as Pillow reads it is refused.

#pragma once

#include <iterator>
#include <memory>
#include <sstream>

#include "third_party/stb_image.h"
#include "vit.hpp"

namespace vit {

/// The levels of an image file, which `view` lends to a model.
struct Picture {
    std::vector<std::uint8_t> levels;
    std::int64_t height, width;

    Image view() const { return {levels.data(), height, width, kChannels}; }
};

namespace detail {

/// Why the image `file` can't be taken; empty where it can.
inline std::string objection(const std::string& file, const stbi_uc* bytes, int size) {
    int width = 0, height = 0, channels = 0;
    if (!stbi_info_from_memory(bytes, size, &width, &height, &channels))
        return "is no PNG, JPEG, BMP or PPM image, or is damaged";
    if (std::int64_t{width} * height > 89'478'485) return "has too many pixels";  // as Pillow says
    if (stbi_is_16_bit_from_memory(bytes, size)) return "has 16 bits a channel; make it 8";
    // the entry of EXIF that says how the camera was held, in either order of bytes
    const std::size_t little = file.find(std::string("\x12\x01\x03\0\x01\0\0\0", 8));
    const std::size_t big = file.find(std::string("\x01\x12\0\x03\0\0\0\x01\0", 9));
    if ((little != file.npos && file.compare(little + 8, 1, "\x01")) ||
        (big != file.npos && file.compare(big + 9, 1, "\x01")))
        return "is turned by its EXIF data; save it upright";
    if (file[0] == 'P') {  // stb_image looks neither at the highest level nor at the end
        std::istringstream header(file.substr(2, 64));
        std::int64_t highest = 0, wanted = std::int64_t{width} * height * channels;
        if (!(header >> width >> height >> highest) || highest != 255) return "is no plain PPM";
        if (size - 2 - header.tellg() - 1 < wanted) return "is cut";
    }
    const bool jpeg = file.rfind("\xFF\xD8", 0) == 0;  // stb_image makes its missing half grey
    if (jpeg && file.rfind("\xFF\xD9") + 1 <= file.rfind("\xFF\xDA") + 1) return "is cut";
    return "";
}

}  // namespace detail

/// The picture in the image file at `path`; JPEG decoders differ by some levels.
inline Picture load_image(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    const std::string file{std::istreambuf_iterator<char>(stream), {}};
    const auto* bytes = reinterpret_cast<const stbi_uc*>(file.data());
    const int size = static_cast<int>(std::min<std::size_t>(file.size(), 1 << 30));
    if (!stream) throw Error(path + ": no such image");
    const std::string wrong = detail::objection(file, bytes, size);
    if (!wrong.empty()) throw Error(path + " " + wrong);
    int width = 0, height = 0, found = 0;
    const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
        stbi_load_from_memory(bytes, size, &width, &height, &found, 0), stbi_image_free);
    if (!decoded) throw Error(path + " can't be decoded: " + stbi_failure_reason());
    Picture picture{{}, height, width};
    for (std::int64_t i = 0; i < picture.height * picture.width; ++i) {
        const stbi_uc* red = decoded.get() + i * found;  // after grey nothing, or transparency
        const stbi_uc *green = red + (found > 2), *blue = green + (found > 2);
{%- if channels == 3 %}
        picture.levels.insert(picture.levels.end(), {*red, *green, *blue});
{%- else %}
        const int grey = *red * 19595 + *green * 38470 + *blue * 7471 + 0x8000;  // as Pillow does
        picture.levels.push_back(static_cast<std::uint8_t>(grey >> 16));
{%- endif %}
    }
    return picture;
}

}  // namespace vit
