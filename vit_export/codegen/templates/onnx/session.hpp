/// Returns an environment of ONNX Runtime that writes no device id and reports to nobody, unless
/// ORT_DISABLE_TELEMETRY is set already. Windows has no such variable, but a call.
inline Ort::Env make_environment() {
#if defined(_WIN32)
    Ort::Env environment(ORT_LOGGING_LEVEL_FATAL, "vit");
    environment.DisableTelemetryEvents();
    return environment;
#else
    static const int once = setenv("ORT_DISABLE_TELEMETRY", "1", 0);  // before the environment
    static_cast<void>(once);
    return Ort::Env(ORT_LOGGING_LEVEL_FATAL, "vit");
#endif
}

/// The model file, open in ONNX Runtime.
class Session {
public:
    Session(const std::string& path, int threads) try {
        if (!std::ifstream(path) || !std::filesystem::is_regular_file(path))
            throw Error(path + ": no such model file");
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(threads);
        session_ = Ort::Session(env_, std::filesystem::path(path).c_str(), options);
{%- if int8 %}
        if (sums_saturate() && read_metadata("@{fits_key}@") != "@{fits}@") {
            options.AddConfigEntry("@{precise}@", "1");  // exact, and slower
            session_ = Ort::Session(env_, std::filesystem::path(path).c_str(), options);
        }
{%- endif %}
        const std::string actual = read_metadata(@{interface_key | cpp}@);
        if (actual != kInterface)
            throw Error(path + " has interface '" + actual + "', this needs '" + kInterface + "'");
    } catch (const Ort::Exception& error) {
        throw Error(path + " can't be opened: " + error.what());
    }

    /// Returns the @{returned}@ of a batch, image by image, without a copy of the batch.
    @{output_type}@ run(@{"
        " if output_type | length > 40}@const @{number}@* input, std::array<std::int64_t, 4> shape) try {
        const char *inputs[] = {"image"}, *names[] = {@{quoted_output_names}@};
        const auto size = static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto image = Ort::Value::CreateTensor(memory, const_cast<@{number}@*>(input), size,
                                                    shape.data(), shape.size());
        const auto outputs = session_.Run({}, inputs, &image, 1, names, std::size(names));
{%- if head == "top5" %}
        return {copy<float>(outputs[1]), copy<std::int64_t>(outputs[0])};
{%- elif not classes %}
        std::vector<std::vector<float>> values;
        for (const Ort::Value& output : outputs) {
            const float* begin = output.GetTensorData<float>();
            values.emplace_back(begin, begin + output.GetTensorTypeAndShapeInfo().GetElementCount());
        }
        return values;
{%- else %}
        const float* scores = outputs[0].GetTensorData<float>();
        return {scores, scores + outputs[0].GetTensorTypeAndShapeInfo().GetElementCount()};
{%- endif %}
    } catch (const Ort::Exception& error) {
        throw Error(std::string("ONNX Runtime refuses the image: ") + error.what());
    }

private:
    std::string read_metadata(const char* key) const {
        const auto value = session_.GetModelMetadata().LookupCustomMetadataMapAllocated(
            key, Ort::AllocatorWithDefaultOptions());
        return value ? value.get() : "";
    }
{% if int8 %}
    /// Returns whether ONNX Runtime adds products of 8-bit integers in 16 bits, and clips the sums:
    /// it does on x86 CPUs without VNNI.
    static bool sums_saturate() {
#if defined(_M_X64)
        int first[4], second[4];
        __cpuidex(first, 7, 0);
        __cpuidex(second, 7, first[0] ? 1 : 0);  // first[0] is the last part of leaf 7
        const bool vnni = first[2] & 1 << 11, avx_vnni = first[0] && second[0] & 1 << 4;
        return !vnni && !avx_vnni;
#elif defined(__x86_64__)
        unsigned last = 0, eax = 0, ebx = 0, ecx = 0, edx = 0;
        __get_cpuid_count(7, 0, &last, &ebx, &ecx, &edx);
        const bool vnni = ecx & 1U << 11;
        if (last) __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx);
        return !vnni && !(eax & 1U << 4);  // the second is AVX-VNNI
#else
        return false;
#endif
    }
{% endif %}{%- if head == "top5" %}
    template <typename Number>
    static std::vector<Number> copy(const Ort::Value& output) {
        const Number* begin = output.GetTensorData<Number>();
        return {begin, begin + output.GetTensorTypeAndShapeInfo().GetElementCount()};
    }
{% endif %}
    Ort::Env env_ = make_environment();
    Ort::Session session_{nullptr};
};
