"""Programs in other languages around an artifact. C++: `templates/` by target, and what is common.

A target gets C++ by a folder of its name there (`session.hpp`, which is a part of `vit.hpp`, and
`runtime.cmake`) and a row in `project.RUNTIMES`.
"""
