// What the model takes: its sides, mean and standard deviation of levels scaled to 0..1.
constexpr std::int64_t kHeight = @{height}@, kWidth = @{width}@;
constexpr float kMean[] = {@{mean}@};
constexpr float kStd[] = {@{std}@};

namespace detail {

/// Pillow's weight of a pixel, unscaled, at a distance in pixels of the coarser grid.
inline double under_filter(double x) {
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

/// One side of an image as it becomes one of the model's: sums of weighted levels, from `begin` on.
struct Side {
    struct Sum {
        std::int64_t begin;
        std::vector<std::int32_t> weights;  // with 22 bits behind the point, as Pillow has them
    };
    std::int64_t size, resized;
    std::vector<Sum> sums;

    Side(std::int64_t from, std::int64_t to, std::int64_t crop) : size(from), resized(to) {
        const std::int64_t spare = resized - crop, first = spare / 2@{" + spare % 2 * (spare / 2 % 2)" if centre == "round"}@;
        const double scale = static_cast<double>(size) / static_cast<double>(resized);
        const double coarser = std::max(scale, 1.0), support = @{support}@ * coarser;
        for (std::int64_t i = first; i < first + crop; ++i) {
            const double middle = (static_cast<double>(i) + 0.5) * scale;
            const auto begin = static_cast<std::int64_t>(std::max(middle - support + 0.5, 0.0));
            const auto end = std::min(static_cast<std::int64_t>(middle + support + 0.5), size);
            std::vector<double> weights;
            for (std::int64_t x = begin; x < end; ++x)
                weights.push_back(under_filter((static_cast<double>(x) - middle + 0.5) / coarser));
            const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
            sums.push_back({begin, {}});
            for (const double weight : weights)
                sums.back().weights.push_back(std::int32_t(std::lround(weight / all * (1 << 22))));
        }
    }
};

/// A pass of Pillow's resize over levels (outer, side.size, inner).
inline std::vector<std::uint8_t> pass(const std::uint8_t* levels, std::int64_t outer,
                                      const Side& side, std::int64_t inner) {
    std::vector<std::uint8_t> resized;
    for (; outer > 0; --outer, levels += side.size * inner)
        for (const Side::Sum& sum : side.sums) {
            std::vector<std::int32_t> totals(static_cast<std::size_t>(inner), 1 << 21);
            const std::uint8_t* level = levels + sum.begin * inner;
            for (const std::int32_t weight : sum.weights)
                for (std::int32_t& total : totals) total += weight * *level++;
            for (const std::int32_t total : totals)
                resized.push_back(static_cast<std::uint8_t>(std::clamp(total >> 22, 0, 255)));
        }
    return resized;
}

}  // namespace detail

/// Writes what the model takes of `image`: (kChannels, kHeight, kWidth) numbers.
inline void preprocess(const Image& image, float* input) {
{%- if shorter %}
    const std::int64_t shorter = std::min(image.height, image.width);
    const detail::Side rows(image.height, @{shorter}@ * image.height / shorter, kHeight);
    const detail::Side columns(image.width, @{shorter}@ * image.width / shorter, kWidth);
{%- else %}
    const detail::Side rows(image.height, @{resize[0]}@, kHeight);
    const detail::Side columns(image.width, @{resize[1]}@, kWidth);
{%- endif %}
{%- if columns_first %}
    const std::int64_t lost = rows.size - rows.resized;
    const bool tall = lost > 0 && lost > 2 * (columns.size - columns.resized);  // Pillow's order
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
