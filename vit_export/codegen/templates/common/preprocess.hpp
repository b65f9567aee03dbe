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
    const std::int64_t lost = rows.size - rows.resized;
    const bool tall = lost > 0 && lost > 2 * (columns.size - columns.resized);  // as in Pillow
    auto levels = tall ? detail::pass(image.levels, 1, rows, image.width * kChannels)
                       : detail::pass(image.levels, image.height, columns, kChannels);
    levels = tall ? detail::pass(levels.data(), kHeight, columns, kChannels)
                  : detail::pass(levels.data(), 1, rows, kWidth * kChannels);
{%- else %}
    auto levels = detail::pass(image.levels, image.height, columns, kChannels);
    levels = detail::pass(levels.data(), 1, rows, kWidth * kChannels);
{%- endif %}
    for (std::size_t c = 0; c < kChannels; ++c)
        for (std::size_t i = c; i < levels.size(); i += kChannels)
            *input++ = (static_cast<float>(levels[i]) / 255 - kMean[c]) / kStd[c];
}
