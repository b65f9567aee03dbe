/// The model file, open in ONNX Runtime.
class Session {
public:
    Session(const std::string& path, int threads) try {
        if (!std::ifstream(path) || !std::filesystem::is_regular_file(path))
            throw Error(path + ": no such model file");
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(threads);
        session_ = Ort::Session(env_, std::filesystem::path(path).c_str(), options);
        const auto metadata = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(
            "@{interface_key}@", Ort::AllocatorWithDefaultOptions());
        const std::string actual = metadata ? metadata.get() : "";
        if (actual != kInterface)
            throw Error(path + " has interface '" + actual + "', this needs '" + kInterface + "'");
    } catch (const Ort::Exception& error) {
        throw Error(path + " can't be opened: " + error.what());
    }

    /// Returns the scores@{" and classes" if head == "top5"}@ of a batch, image by image, without a copy of the batch.
    @{output_type}@ run(@{"
        " if head == "top5"}@const @{number}@* input, std::array<std::int64_t, 4> shape) try {
        const char *inputs[] = {"image"}, *names[] = {@{quoted_output_names}@};
        const auto size = static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto image = Ort::Value::CreateTensor(memory, const_cast<@{number}@*>(input), size,
                                                    shape.data(), shape.size());
        const auto outputs = session_.Run({}, inputs, &image, 1, names, std::size(names));
{%- if head == "top5" %}
        return {copy<float>(outputs[1]), copy<std::int64_t>(outputs[0])};
{%- else %}
        const float* scores = outputs[0].GetTensorData<float>();
        return {scores, scores + outputs[0].GetTensorTypeAndShapeInfo().GetElementCount()};
{%- endif %}
    } catch (const Ort::Exception& error) {
        throw Error(std::string("ONNX Runtime refuses the image: ") + error.what());
    }

private:
{%- if head == "top5" %}
    template <typename Number>
    static std::vector<Number> copy(const Ort::Value& output) {
        const Number* begin = output.GetTensorData<Number>();
        return {begin, begin + output.GetTensorTypeAndShapeInfo().GetElementCount()};
    }
{% endif %}
    Ort::Env env_{ORT_LOGGING_LEVEL_FATAL, "vit"};
    Ort::Session session_{nullptr};
};
