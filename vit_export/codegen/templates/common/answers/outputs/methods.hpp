    /// Returns every output for `image`.
    std::vector<Output> run(const Image& image) { return run_batch(image, 1); }

    /// Returns the same for `count` images of one size that follow each other in memory.
    std::vector<Output> run_batch(const Image& first, std::int64_t count) {
        std::vector<std::vector<float>> values = infer(first, count);
        if (values.size() != kOutputs.size())
            throw Error("the model file has " + std::to_string(values.size()) + " outputs, not " +
                        std::to_string(kOutputs.size()));
        std::vector<Output> outputs;
        for (std::size_t i = 0; i < values.size(); ++i) {
            const auto& [name, sides] = kOutputs[i];
            std::int64_t size = count;
            for (const std::int64_t side : sides) size *= side;
            if (values[i].size() != static_cast<std::size_t>(size))
                throw Error("the model file answers another shape of " + name);
            if (!std::all_of(values[i].begin(), values[i].end(),
                             [](float one) { return std::isfinite(one); }))
                throw Error(name + " is not finite");
            outputs.push_back({name, {count}, std::move(values[i])});
            outputs.back().shape.insert(outputs.back().shape.end(), sides.begin(), sides.end());
        }
        return outputs;
    }
