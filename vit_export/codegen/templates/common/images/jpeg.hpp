// The header of a JPEG file.

#ifndef VIT_@{name}@_@{id}@_JPEG_HPP
#define VIT_@{name}@_@{id}@_JPEG_HPP

#include "bytes.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {
namespace detail {

/// Reads a frame header: SOF0 (baseline), SOF1 or SOF2 (progressive).
inline void read_frame(std::string_view segment, int marker, JpegHeader& header) {
    if (!header.components.empty()) throw Error("is a damaged JPEG: two frames");
    if (read_number(segment, 0, 1, Order::big) != 8) throw Error("has no 8 bits per channel");
    header.baseline = marker != 0xC2;
    header.height = read_number(segment, 1, 2, Order::big);
    header.width = read_number(segment, 3, 2, Order::big);
    check_size(header.height, header.width);
    const std::size_t count = read_number(segment, 5, 1, Order::big);
    if (count != 1 && count != 3 && count != 4) throw Error("has another number of channels");
    for (std::size_t i = 0; i < count; ++i) {
        const auto part = [&](std::size_t offset) {
            return static_cast<int>(read_number(segment, 6 + 3 * i + offset, 1, Order::big));
        };
        header.components.push_back({part(0), part(1) >> 4, part(1) & 15});
        const auto& one = header.components.back();
        if (one.horizontal < 1 || one.horizontal > 4 || one.vertical < 1 || one.vertical > 4)
            throw Error("is a damaged JPEG: sampling factors");
    }
}

inline void read_segment(std::string_view segment, int marker, JpegHeader& header) {
    const auto starts = [&](std::string_view mark) {
        return segment.substr(0, mark.size()) == mark;
    };
    if (marker >= 0xC0 && marker <= 0xC2) {
        read_frame(segment, marker, header);
    } else if (marker == 0xDD) {
        header.restart_interval = read_number(segment, 0, 2, Order::big);
    } else if (marker == 0xE0 && starts({"JFIF\0", 5})) {
        header.jfif = true;
    } else if (marker == 0xEE && starts("Adobe") && segment.size() >= 12) {
        header.adobe_transform = static_cast<int>(read_number(segment, 11, 1, Order::big));
    } else if (marker == 0xE1 && starts({"Exif\0\0", 6})) {
        header.exif += segment.substr(6);
    } else if (marker == 0xE1) {
        check_xmp(segment);
    } else if (marker >= 0xC3 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 &&
               marker != 0xCC) {
        throw Error("is a JPEG of a rare kind");
    }
}

/// Reads the segments of a JPEG file up to its first scan.
inline JpegHeader read_jpeg_header(std::string_view file) {
    JpegHeader header;
    for (std::size_t at = 2;;) {
        if (read_number(file, at++, 1, Order::big) != 0xFF)
            throw Error("is a damaged JPEG: no marker");
        const int marker = static_cast<int>(read_number(file, at, 1, Order::big));
        if (marker == 0xFF) continue;  // fill byte
        const std::size_t length = read_number(file, ++at, 2, Order::big);
        if (marker < 0xC0 || (marker >= 0xD0 && marker <= 0xD9) || length < 2)
            throw Error("is a damaged JPEG: a marker is out of place");
        const std::string_view segment = cut(file, at + 2, length - 2);
        at += length;
        if (marker == 0xDA) {
            if (header.components.empty()) throw Error("is a damaged JPEG: no frame");
            check_exif(header.exif);
            header.scan_components = read_number(segment, 0, 1, Order::big);
            header.scan_begin = at;
            return header;
        }
        read_segment(segment, marker, header);
    }
}

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit

#endif
