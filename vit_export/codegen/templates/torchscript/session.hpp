/// The model file, open in LibTorch.
class Session {
public:
    Session(const std::string& path, int threads) try {
        if (!std::ifstream(path) || !std::filesystem::is_regular_file(path))
            throw Error(path + ": no such model file");
        if (threads > 0) at::set_num_threads(threads);
        torch::jit::ExtraFilesMap extra_files{{@{interface_key | cpp}@, ""}};
        module_ = torch::jit::load(path, torch::kCPU, extra_files);
        const std::string actual = extra_files[@{interface_key | cpp}@];
        if (actual != kInterface)
            throw Error(path + " has interface '" + actual + "', this needs '" + kInterface + "'");
    } catch (const c10::Error& error) {
        throw Error(path + " can't be opened: " + error.what_without_backtrace());
    }
    Session(Session&&) = default;
    Session& operator=(Session&&) = default;

    /// Returns the @{returned}@ of a batch, image by image, without a copy of the batch.
    @{output_type}@ run(@{"
        " if output_type | length > 40}@const @{number}@* input, std::array<std::int64_t, 4> shape) try {
        const c10::InferenceMode no_gradients;
        const auto image = at::from_blob(const_cast<@{number}@*>(input), shape, @{"at::kFloat" if preprocess else "at::kByte"}@);
        const auto output = module_.forward({image});
{%- if head == "top5" %}
        const auto& both = output.toTupleRef().elements();
        return {copy<float>(both[1].toTensor()), copy<std::int64_t>(both[0].toTensor())};
{%- elif not classes %}
        std::vector<std::vector<float>> values;
        const auto tensors = output.isTuple() ? output.toTupleRef().elements().vec()
                                              : std::vector<c10::IValue>{output};
        for (const auto& one : tensors) {
            const at::Tensor rows = one.toTensor().contiguous();
            values.emplace_back(rows.data_ptr<float>(), rows.data_ptr<float>() + rows.numel());
        }
        return values;
{%- else %}
        const at::Tensor scores = output.toTensor().contiguous();
        return {scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel()};
{%- endif %}
    } catch (const std::runtime_error& error) {  // the interpreter throws these besides c10::Error
        throw Error(std::string("LibTorch refuses the image: ") + error.what());
    } catch (const c10::Error& error) {
        throw Error(std::string("LibTorch refuses the image: ") + error.what_without_backtrace());
    }

private:
{%- if head == "top5" %}
    template <typename Number>
    static std::vector<Number> copy(const at::Tensor& output) {
        const at::Tensor rows = output.contiguous();
        return {rows.data_ptr<Number>(), rows.data_ptr<Number>() + rows.numel()};
    }
{% endif %}
    torch::jit::Module module_;
};
