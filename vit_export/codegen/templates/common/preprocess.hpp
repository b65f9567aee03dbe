/// Writes the model's input for `image`: (kChannels, kHeight, kWidth) normalized numbers.
inline void preprocess(const Image& image, float* input) {
{%- if shorter %}
    const std::int64_t shorter = std::min(image.height, image.width);
    const detail::Side rows{image.height, @{shorter}@ * image.height / shorter, kHeight};
    const detail::Side columns{image.width, @{shorter}@ * image.width / shorter, kWidth};
{%- else %}
    const detail::Side rows{image.height, @{resize[0]}@, kHeight}, columns{image.width, @{resize[1]}@, kWidth};
{%- endif %}
{%- if columns_first %}
    const std::int64_t saved = rows.size - rows.resized;  // Pillow's own rule
    const bool rows_first = saved > 0 && saved > 2 * (columns.size - columns.resized);
    auto pixels = rows_first ? detail::resize(image.pixels, 1, rows, image.width * kChannels)
                             : detail::resize(image.pixels, image.height, columns, kChannels);
    pixels = rows_first ? detail::resize(pixels.data(), kHeight, columns, kChannels)
                        : detail::resize(pixels.data(), 1, rows, kWidth * kChannels);
{%- else %}
    auto pixels = detail::resize(image.pixels, image.height, columns, kChannels);
    pixels = detail::resize(pixels.data(), 1, rows, kWidth * kChannels);
{%- endif %}
    for (std::size_t c = 0; c < kChannels; ++c)
        for (std::size_t i = c; i < pixels.size(); i += kChannels)
            *input++ = (static_cast<float>(pixels[i]) / 255 - kMean[c]) / kStd[c];
}
