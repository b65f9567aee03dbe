/// Returns the weight of Pillow's filter, before scaling, at distance `x` on the coarser grid.
inline double filter_weight(double x) {
    x = std::abs(x);
{%- if interpolation == "bilinear" %}
    return x < 1 ? 1 - x : 0;
{%- elif interpolation == "bicubic" %}
    if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
{%- else %}
    const auto sinc = [](double y) { return y == 0 ? 1 : std::sin(y) / y; };
    const double angle = x * std::acos(-1.0);
    return x < 3 ? sinc(angle) * sinc(angle / 3) : 0;
{%- endif %}
}

/// One side of an image in pixels: in the file, after the resize, and after the crop.
struct Side {
    std::int64_t size, resized, crop;
};

/// Resizes and crops one side as Pillow: (outer, side.size, inner) to (outer, side.crop, inner).
inline std::vector<std::uint8_t> resize(const std::uint8_t* pixels, std::int64_t outer,
                                        const Side& side, std::int64_t inner) {
    const std::int64_t spare = side.resized - side.crop;
    const std::int64_t first = spare / 2@{" + spare % 2 * (spare / 2 % 2)" if centre == "round"}@;
    const double scale = static_cast<double>(side.size) / static_cast<double>(side.resized);
    const double coarser = std::max(scale, 1.0), support = @{support}@ * coarser;
    std::vector<std::uint8_t> output(static_cast<std::size_t>(outer * side.crop * inner));
    std::vector<std::int32_t> totals;
    for (std::int64_t i = 0; i < side.crop; ++i) {
        const double middle = (static_cast<double>(first + i) + 0.5) * scale;
        const auto begin = static_cast<std::int64_t>(std::max(middle - support + 0.5, 0.0));
        const auto end = std::min(static_cast<std::int64_t>(middle + support + 0.5), side.size);
        std::vector<double> weights;
        for (std::int64_t x = begin; x < end; ++x)
            weights.push_back(filter_weight((static_cast<double>(x) - middle + 0.5) / coarser));
        const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
        for (double& weight : weights) weight = std::round(weight / sum * (1 << 22));  // as Pillow
        for (std::int64_t o = 0; o < outer; ++o) {
            totals.assign(static_cast<std::size_t>(inner), 1 << 21);
            const std::uint8_t* pixel = pixels + (o * side.size + begin) * inner;
            for (const double weight : weights)
                for (std::int32_t& total : totals) total += std::int32_t(weight) * *pixel++;
            std::uint8_t* out = output.data() + (o * side.crop + i) * inner;
            for (const std::int32_t total : totals)
                *out++ = static_cast<std::uint8_t>(std::clamp(total >> 22, 0, 255));
        }
    }
    return output;
}
