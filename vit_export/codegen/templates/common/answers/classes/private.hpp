{% if head == "top5" %}    std::vector<Class> rank(const float* scores, const std::int64_t* classes, std::size_t top) {
        std::vector<Class> best;
        for (std::size_t i = 0; i < std::min<std::size_t>(top, kBest); ++i) {
            if (!std::isfinite(scores[i]) || classes[i] < 0 || classes[i] >= kClasses)
                throw Error("the answer is not a class");
            best.push_back({classes[i], scores[i], labels_[static_cast<std::size_t>(classes[i])]});
        }
        return best;
    }
{%- elif regression %}    std::vector<Value> name(const float* scores) {
        std::vector<Value> values;
        for (std::size_t i = 0; i < kClasses; ++i) {
            if (!std::isfinite(scores[i])) throw Error("the answer is not finite");
            values.push_back({std::int64_t(i), scores[i], labels_[i]});
        }
        return values;
    }
{%- else %}    std::vector<Class> rank(const float* scores, std::size_t top) {
{%- if head == "logits" and function == "softmax" %}
        const float highest = *std::max_element(scores, scores + kClasses);
        const auto weight = [&](auto i) { return std::exp(double{scores[i]} - highest); };
        double sum = 0;
        for (int i = 0; i < kClasses; ++i) sum += weight(i);
{%- else %}
        const double sum = std::accumulate(scores, scores + kClasses, 0.0);
{%- endif %}
        if (!std::isfinite(sum)) throw Error("the answer is not finite");
        std::vector<std::size_t> order(kClasses);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](auto a, auto b) { return scores[a] > scores[b]; });
        order.resize(std::min(top, order.size()));
        std::vector<Class> best;
{%- if head == "logits" %}
        for (const auto i : order)
            best.push_back({std::int64_t(i), float(@{"weight(i) / sum" if function == "softmax" else "1 / (1 + std::exp(-double{scores[i]}))"}@), labels_[i]});
{%- else %}
        for (const auto i : order) best.push_back({std::int64_t(i), scores[i], labels_[i]});
{%- endif %}
        return best;
    }
{%- endif %}
