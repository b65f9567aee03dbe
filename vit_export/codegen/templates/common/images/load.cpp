// load_image: the format of a file is in its first bytes.

#include <iterator>

#include "jpeg.hpp"
#include "plain.hpp"
#include "png.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {
namespace detail {
namespace {

constexpr std::size_t kMaxFile = 1 << 30;  // bytes

/// Returns RGB of CMYK that is stored inverted, as Pillow takes all CMYK in JPEG to be.
Samples convert_cmyk(const Samples& samples) {
    Samples colours;
    for (std::size_t i = 0; i < samples.size(); i += 4)
        for (std::size_t channel = 0; channel < 3; ++channel) {
            const int black = samples[i + 3], product = (255 - samples[i + channel]) * black + 128;
            colours.push_back(
                static_cast<std::uint8_t>(std::max(black - (((product >> 8) + product) >> 8), 0)));
        }
    return colours;
}

Decoded decode_file(const std::string& file) {
    const auto starts = [&file](std::string_view mark) { return !file.compare(0, mark.size(), mark); };
    if (starts("\x89PNG\r\n\x1a\n")) {
        const Png png = read_png(file);
        return {png.height, png.width, png.color == 3 ? 3 : png.channels(), decode(png)};
    }
    if (starts("\xFF\xD8\xFF")) {
        const JpegHeader header = read_jpeg_header(file);
        Samples samples = decode_jpeg(file, header);
        const bool cmyk = header.components.size() == 4;
        return {header.height, header.width, header.components.size() == 1 ? 1 : 3,
                cmyk ? convert_cmyk(samples) : std::move(samples)};
    }
    if (starts("BM")) return decode_bmp(file);
    if (starts("P5") || starts("P6")) return decode_ppm(file);
    throw Error("is no PNG, JPEG, BMP or PPM image");
}

/// Returns an image in the channels of the model; transparency is dropped.
DecodedImage convert(Decoded decoded) {
    const auto channels = static_cast<std::size_t>(decoded.channels);
    if (channels == kChannels) return {std::move(decoded.samples), decoded.height, decoded.width};
    DecodedImage image{{}, decoded.height, decoded.width};
    image.pixels.reserve(decoded.samples.size() / channels * kChannels);
    for (std::size_t i = 0; i < decoded.samples.size(); i += channels) {
        const std::uint8_t* pixel = &decoded.samples[i];
        const bool grey = channels < 3;
        const int red = pixel[0], green = pixel[grey ? 0 : 1], blue = pixel[grey ? 0 : 2];
{%- if channels == 3 %}
        for (const int value : {red, green, blue})
            image.pixels.push_back(static_cast<std::uint8_t>(value));
{%- else %}
        image.pixels.push_back(static_cast<std::uint8_t>(  // with the weights of Pillow
            (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16));
{%- endif %}
    }
    return image;
}

}  // namespace
}  // namespace detail

DecodedImage load_image(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream || !std::filesystem::is_regular_file(path)) throw Error(path + ": no such image");
    const std::string file{std::istreambuf_iterator<char>(stream), {}};
    try {
        if (file.size() > detail::kMaxFile) throw Error("has more than 1 GiB");
        return detail::convert(detail::decode_file(file));
    } catch (const Error& error) {
        throw Error(path + " " + error.what());
    }
}

}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit
