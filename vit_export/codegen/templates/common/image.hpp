// Reads image files, and refuses those that Pillow would read differently.

#ifndef VIT_@{name}@_@{id}@_IMAGE_HPP
#define VIT_@{name}@_@{id}@_IMAGE_HPP

#include "vit.hpp"

namespace vit {
inline namespace @{name}@ {
inline namespace id_@{id}@ {

/// The pixels of an image file; `view` refers to them without a copy.
struct DecodedImage {
    std::vector<std::uint8_t> pixels;
    std::int64_t height, width;

    Image view() const { return {pixels.data(), height, width, kChannels}; }
};

/// Reads a PNG, JPEG, BMP or PPM file; the pixels of a JPEG may differ a little from Pillow's.
DecodedImage load_image(const std::string& path);

/// Returns the names of the libraries that decode PNG and JPEG.
std::string decoder_names();

}  // namespace id_@{id}@
}  // namespace @{name}@
}  // namespace vit

#endif
