inline std::vector<std::string> read_labels(const std::string& path) {
    std::vector<std::string> labels;
    for (int i = 0; path.empty() && i < kClasses; ++i)
        labels.push_back("@{"output" if regression else "class"}@ " + std::to_string(i));
    std::ifstream file(path);
    if (!path.empty() && !file) throw Error(path + ": no such label file");
    for (std::string line; std::getline(file, line); labels.push_back(line)) {
        if (!line.empty() && line.back() == '\r') line.pop_back();  // a Windows line end
        if (labels.empty() && !line.compare(0, 3, "\xEF\xBB\xBF")) line.erase(0, 3);  // as Notepad
    }
    while (labels.size() > kClasses && labels.back().empty()) labels.pop_back();
    if (labels.size() != kClasses)
        throw Error(path + " has " + std::to_string(labels.size()) + " labels, the model " +
                    std::to_string(kClasses) + " classes");
    return labels;
}
