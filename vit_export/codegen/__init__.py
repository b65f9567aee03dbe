"""Programs in other languages around an artifact; today C++ projects.

`templates/common` holds the files of every project. A folder of a backend's name beside it adds C++
for that backend: `session.hpp` opens the model file inside `vit.hpp`, `runtime.cmake` finds the
runtime, and `runtime.toml` has the fields of `runtimes.CppRuntime`.
"""
