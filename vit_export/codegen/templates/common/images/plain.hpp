// Formats without compression: BMP, and PPM and PGM.

#ifndef VIT_@{name}@_@{id}@_PLAIN_HPP
#define VIT_@{name}@_@{id}@_PLAIN_HPP

#include "bytes.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {
namespace detail {

struct Decoded {
    std::int64_t height, width;
    int channels;
    Samples samples;
};

struct Bmp {
    std::int64_t height, width;
    bool top_down;
    std::size_t depth, pixels;  // bits per pixel; where the rows begin
    std::string_view palette;   // blue, green, red, and a byte more unless it is of OS/2
    std::size_t entry;          // bytes per colour of the palette
};

inline Bmp read_bmp_header(std::string_view file) {
    const auto number = [&](std::size_t at, std::size_t size) {
        return read_number(file, at, size, Order::little);
    };
    Bmp bmp{};
    const std::size_t size = number(14, 4);
    const bool os2 = size == 12;
    if (!os2 && size != 40 && size != 52 && size != 56 && size != 64 && size != 108 && size != 124)
        throw Error("is a BMP of an unknown kind");
    bmp.width = os2 ? number(18, 2) : number(18, 4);
    const std::uint32_t height = os2 ? number(20, 2) : number(22, 4);
    bmp.top_down = !os2 && height >> 31;
    bmp.height = bmp.top_down ? std::int64_t{1} + ~height : height;
    check_size(bmp.height, bmp.width);
    bmp.depth = number(os2 ? 24 : 28, 2);
    const bool indexed = bmp.depth == 1 || bmp.depth == 4 || bmp.depth == 8;
    if ((!indexed && bmp.depth != 24 && bmp.depth != 32) || (!os2 && number(30, 4) != 0))
        throw Error("is a BMP of a rare kind; save it without compression");
    bmp.entry = os2 ? 3 : 4;
    const std::size_t all = std::size_t{1} << (indexed ? bmp.depth : 0);
    const std::size_t given = os2 ? 0 : number(46, 4), colours = given ? given : all;
    if (indexed && colours > all) throw Error("is a damaged BMP: its palette");
    if (indexed) bmp.palette = cut(file, 14 + size, colours * bmp.entry);
    bmp.pixels = number(10, 4);
    if (bmp.pixels < 14 + size + bmp.palette.size()) throw Error("is a damaged BMP: its offset");
    return bmp;
}

inline Decoded decode_bmp(std::string_view file) {
    const Bmp bmp = read_bmp_header(file);
    const auto width = static_cast<std::size_t>(bmp.width);
    const std::size_t stride = (width * bmp.depth + 31) / 32 * 4;
    const auto height = static_cast<std::size_t>(bmp.height);
    const std::string_view rows = cut(file, bmp.pixels, stride * height);
    Samples samples;
    samples.reserve(3 * width * height);
    for (std::size_t y = 0; y < height; ++y) {
        const std::string_view row = rows.substr(stride * (bmp.top_down ? y : height - 1 - y), stride);
        for (std::size_t x = 0; x < width; ++x) {
            std::string_view colour = row.substr(x * bmp.depth / 8, 3);
            if (bmp.depth <= 8) {
                const auto byte = static_cast<unsigned char>(row[x * bmp.depth / 8]);
                const std::size_t shift = 8 - bmp.depth - x * bmp.depth % 8;
                const std::size_t at = (byte >> shift & ((1U << bmp.depth) - 1)) * bmp.entry;
                if (at + bmp.entry > bmp.palette.size())
                    throw Error("has a colour that its palette lacks");
                colour = bmp.palette.substr(at, 3);
            }
            for (const std::size_t channel : {2, 1, 0})
                samples.push_back(static_cast<std::uint8_t>(colour[channel]));
        }
    }
    return {bmp.height, bmp.width, 3, std::move(samples)};
}

/// Decodes binary PPM and PGM with a maximum of 255.
inline Decoded decode_ppm(std::string_view file) {
    std::size_t at = 2;
    const auto is_space = [](char one) { return one == ' ' || (one >= '\t' && one <= '\r'); };
    const auto read = [&] {
        while (at < file.size() && (is_space(file[at]) || file[at] == '#'))
            at = file[at] == '#' ? std::min(file.find('\n', at), file.size()) : at + 1;
        std::int64_t number = 0;
        for (; at < file.size() && file[at] >= '0' && file[at] <= '9' && number < 1'000'000; ++at)
            number = 10 * number + (file[at] - '0');
        if (at >= file.size() || !is_space(file[at])) throw Error("is a damaged PPM: its header");
        return number;
    };
    const std::int64_t width = read(), height = read(), maximum = read();
    check_size(height, width);
    if (maximum != 255) throw Error("has another maximum than 255; save it with 8 bits per channel");
    const int channels = file[1] == '6' ? 3 : 1;
    const std::string_view values = cut(file, at + 1, static_cast<std::size_t>(width * height * channels));
    return {height, width, channels, {values.begin(), values.end()}};
}

}  // namespace detail
}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit

#endif
