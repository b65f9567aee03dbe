// Numbers in the bytes of a file, read within its bounds; and orientations in EXIF and XMP.

#ifndef VIT_@{name}@_@{id}@_BYTES_HPP
#define VIT_@{name}@_@{id}@_BYTES_HPP

#include "decoders.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {
namespace detail {

enum class Order { big, little };

/// Returns the part of a file that `size` bytes from `at` make.
inline std::string_view cut(std::string_view file, std::size_t at, std::size_t size) {
    if (at > file.size() || size > file.size() - at) throw Error("is truncated");
    return file.substr(at, size);
}

inline std::uint32_t read_number(std::string_view file, std::size_t at, std::size_t size,
                                 Order order) {
    std::uint32_t number = 0;
    const std::string_view bytes = cut(file, at, size);
    for (std::size_t i = 0; i < size; ++i)
        number = number << 8 |
                 static_cast<unsigned char>(bytes[order == Order::big ? i : size - 1 - i]);
    return number;
}

inline void check_size(std::int64_t height, std::int64_t width) {
    if (height < 1 || width < 1) throw Error("has no pixels");
    if (height > kMaxPixels / width) throw Error("has too many pixels");
}

[[noreturn]] inline void refuse_rotation() {
    throw Error("may be rotated by its EXIF or XMP data; save it upright, without that data");
}

/// Refuses EXIF data whose first directory rotates the image, or might.
inline void check_exif(std::string_view data) {
    while (data.substr(0, 6) == std::string_view("Exif\0\0", 6)) data.remove_prefix(6);
    if (data.empty()) return;
    const Order order = data[0] == 'I' ? Order::little : Order::big;
    const std::string_view mark = order == Order::little ? std::string_view("II*\0", 4)
                                                         : std::string_view("MM\0*", 4);
    if (cut(data, 0, 4) != mark) throw Error("has damaged EXIF data");
    const std::size_t directory = read_number(data, 4, 4, order);
    const std::uint32_t entries = read_number(data, directory, 2, order);
    for (std::size_t i = 0; i < entries; ++i) {
        const std::string_view entry = cut(data, directory + 2 + 12 * i, 12);
        if (read_number(entry, 0, 2, order) != 0x0112) continue;
        const std::uint32_t type = read_number(entry, 2, 2, order);
        const bool one = read_number(entry, 4, 4, order) == 1;
        if (!one || (type != 3 && type != 4)) refuse_rotation();  // SHORT and LONG
        const std::uint32_t value = read_number(entry, 8, type == 3 ? 2 : 4, order);
        if (value > 1 && value < 9) refuse_rotation();
    }
}

/// Refuses XMP data with an orientation, as an attribute or as an element.
inline void check_xmp(std::string_view text) {
    for (const std::string_view mark : {"tiff:Orientation=\"", "tiff:Orientation>"})
        for (std::size_t at = 0; (at = text.find(mark, at)) != text.npos; ++at) {
            const std::string_view value = text.substr(at + mark.size(), 1);
            if (!value.empty() && value[0] >= '2' && value[0] <= '8') refuse_rotation();
        }
}

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit

#endif
