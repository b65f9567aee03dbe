{% if regression %}    /// Returns the numbers that the model answers to `image`, in its own order.
    std::vector<Value> predict(const Image& image) { return predict_batch(image, 1).front(); }

    /// Returns the same for `count` images of one size that follow each other in memory.
    std::vector<std::vector<Value>> predict_batch(const Image& first, std::int64_t count) {
{%- else %}    /// Returns the `top` most probable classes of `image`, the best first@{"; the file answers %d" % best if head == "top5"}@.
    std::vector<Class> classify(const Image& image, std::size_t top = 5) {
        return classify_batch(image, 1, top).front();
    }

    /// Returns the same for `count` images of one size that follow each other in memory.
    std::vector<std::vector<Class>> classify_batch(const Image& first, std::int64_t count,
                                                   std::size_t top = 5) {
{%- endif %}
        const auto @{outputs}@ = infer(first, count);
        if (scores.size() != static_cast<std::size_t>(count * @{scores_per_image}@)@{" ||\n            classes.size() != scores.size()" if head == "top5"}@)
            throw Error("the model file answers another number of classes");
        std::vector<std::vector<@{result}@>> answers;
{%- if head == "top5" %}
        for (std::int64_t i = 0; i < count * kBest; i += kBest)
            answers.push_back(rank(&scores[i], &classes[i], top));
{%- else %}
        for (std::int64_t i = 0; i < count; ++i)
            answers.push_back(@{"name(&scores[i * kClasses])" if regression else "rank(&scores[i * kClasses], top)"}@);
{%- endif %}
        return answers;
    }
