/// One output of the model for a batch of images.
struct Output {
    std::string name;
    std::vector<std::int64_t> shape;  ///< The number of images comes first.
    std::vector<float> values;        ///< Row by row.
};

/// The outputs for one image: their names and shapes.
inline const std::vector<std::pair<std::string, std::vector<std::int64_t>>> kOutputs = {
{%- for name, sides in named_outputs %}
    {@{name | cpp}@, {@{sides}@}},
{%- endfor %}
};
