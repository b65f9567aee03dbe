struct @{result}@ {
    std::int64_t index;
    float @{"value" if regression else "probability"}@;@{"  ///< Each class has one of its own: they need not sum to 1." if function == "sigmoid"}@
    std::string name;
};
