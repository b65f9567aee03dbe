// The chunks of a PNG file: checksums, palette, texts; the pixels are decoded from the rest.

#ifndef VIT_@{name}@_@{id}@_PNG_HPP
#define VIT_@{name}@_@{id}@_PNG_HPP

#include "bytes.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {
namespace detail {

struct Png {
    std::int64_t height = 0, width = 0;
    int depth = 0, color = 0;
    std::string_view palette;  // red, green, blue
    std::string header, data;  // contents of IHDR, and of all IDAT

    int channels() const { return color == 6 ? 4 : color == 2 ? 3 : color == 4 ? 2 : 1; }
};

inline std::uint32_t checksum(std::string_view bytes) {
    std::uint32_t sum = 0xFFFFFFFF;
    for (const char byte : bytes) {
        sum ^= static_cast<unsigned char>(byte);
        for (int i = 0; i < 8; ++i) sum = sum >> 1 ^ (sum & 1 ? 0xEDB88320 : 0);
    }
    return ~sum;
}

inline void read_png_header(std::string_view chunk, Png& png) {
    const auto byte = [&](std::size_t at) { return int(read_number(chunk, at, 1, Order::big)); };
    if (chunk.size() != 13 || !png.header.empty()) throw Error("is a damaged PNG: its header");
    png.width = read_number(chunk, 0, 4, Order::big);
    png.height = read_number(chunk, 4, 4, Order::big);
    check_size(png.height, png.width);
    png.depth = byte(8);
    png.color = byte(9);
    if (png.depth == 16) throw Error("has 16 bits per channel; save it with 8");
    const bool few = png.depth == 1 || png.depth == 2 || png.depth == 4;
    const bool known = png.color == 0 || png.color == 3
                           ? few || png.depth == 8
                           : png.depth == 8 && (png.color == 2 || png.color == 4 || png.color == 6);
    if (!known || byte(10) || byte(11) || byte(12) > 1) throw Error("is a damaged PNG: its header");
    png.header = chunk;
}

/// Refuses EXIF data that ImageMagick writes as a text of hexadecimal digits.
inline void check_hexadecimal_exif(std::string_view text) {
    for (int line = 0; line < 3; ++line) text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
    std::string data;
    int high = -1;
    for (const char one : text) {
        if (one == '\n') continue;
        const std::size_t digit = std::string_view("0123456789abcdef0123456789ABCDEF").find(one);
        if (digit == text.npos) throw Error("has damaged EXIF data");
        const int value = static_cast<int>(digit % 16);
        if (high >= 0) data += static_cast<char>(16 * high + value);
        high = high < 0 ? value : -1;
    }
    if (high >= 0) throw Error("has damaged EXIF data");
    check_exif(data);
}

/// Reads tEXt, zTXt and iTXt, whose text may be compressed.
inline void check_text(std::string_view type, std::string_view chunk) {
    const std::size_t end = std::min(chunk.find('\0'), chunk.size());
    const std::string_view key = chunk.substr(0, end);
    chunk.remove_prefix(std::min(end + 1, chunk.size()));
    bool compressed = type == "zTXt";
    if (compressed) {
        if (!chunk.empty() && chunk[0]) throw Error("has a text of an unknown compression");
        chunk = cut(chunk, 1, chunk.empty() ? 0 : chunk.size() - 1);
    } else if (type == "iTXt") {
        compressed = read_number(chunk, 0, 1, Order::big) != 0;
        chunk = cut(chunk, 2, chunk.size() < 2 ? 0 : chunk.size() - 2);
        for (int i = 0; i < 2; ++i)  // language and translated key
            chunk.remove_prefix(std::min(std::min(chunk.find('\0'), chunk.size()) + 1, chunk.size()));
    }
    const std::string text = compressed ? inflate(chunk, kMaxText) : std::string(chunk);
    if (text.size() > kMaxText) throw Error("has a damaged or very long text");
    if (key == "XML:com.adobe.xmp") check_xmp(text);
    if (key == "Raw profile type exif" && !text.empty()) check_hexadecimal_exif(text);
}

inline Png read_png(std::string_view file) {
    constexpr const char* kDisorder = "is a damaged PNG: the order of its chunks";
    Png png;
    std::string_view previous;
    for (std::size_t at = 8;;) {
        const std::size_t length = read_number(file, at, 4, Order::big);
        const std::string_view type = cut(file, at + 4, 4), chunk = cut(file, at + 8, length);
        if (checksum(cut(file, at + 4, length + 4)) != read_number(file, at + 8 + length, 4, Order::big))
            throw Error("is a damaged PNG: a checksum");
        at += length + 12;
        if (png.header.empty() && type != "IHDR") throw Error("is a damaged PNG: its header");
        if (type == "IHDR") {
            read_png_header(chunk, png);
        } else if (type == "PLTE") {
            if (!png.palette.empty() || !png.data.empty()) throw Error(kDisorder);
            png.palette = chunk;
        } else if (type == "IDAT") {
            if (!png.data.empty() && previous != "IDAT") throw Error(kDisorder);
            png.data += chunk;
        } else if (type == "iCCP") {
            if (read_number(chunk, chunk.find('\0') + 1, 1, Order::big) != 0)
                throw Error("has a colour profile of an unknown compression");
        } else if (type == "eXIf") {
            check_exif(chunk);
        } else if (type == "tEXt" || type == "zTXt" || type == "iTXt") {
            check_text(type, chunk);
        } else if (type == "IEND") {
            if (png.data.empty()) throw Error(kDisorder);
            return png;
        } else if (type[0] >= 'A' && type[0] <= 'Z') {
            throw Error("is a PNG with a critical chunk that is unknown");
        }
        previous = type;
    }
}

inline std::string make_chunk(const std::string& type, const std::string& content) {
    const auto number = [](std::uint32_t value) {
        std::string bytes;
        for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 255);
        return bytes;
    };
    return number(static_cast<std::uint32_t>(content.size())) + type + content +
           number(checksum(type + content));
}

/// Decodes a PNG. Indices of a palette are decoded as if they were grey, and looked up here.
inline Samples decode(Png png) {
    if (png.color == 3) png.header[9] = 0;
    const std::string plain = "\x89PNG\r\n\x1a\n" + make_chunk("IHDR", png.header) +
                              make_chunk("IDAT", png.data) + make_chunk("IEND", "");
    const std::int64_t rows = png.height * (png.width * png.channels() + 2) + 8;  // interlaced too
    inflate(png.data, static_cast<std::size_t>(rows));  // decoders do not check all of the data
    Samples samples = decode_png(plain, png.height, png.width, png.channels());
    if (png.color != 3) return samples;
    const int scale = 255 / ((1 << png.depth) - 1);  // grey of few bits becomes 0..255
    Samples colours;
    colours.reserve(3 * samples.size());
    for (const std::uint8_t sample : samples) {
        const std::size_t at = 3 * static_cast<std::size_t>(sample / scale);
        if (at + 3 > png.palette.size()) throw Error("has a colour that its palette lacks");
        for (const char value : png.palette.substr(at, 3))
            colours.push_back(static_cast<std::uint8_t>(value));
    }
    return colours;
}

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit

#endif
