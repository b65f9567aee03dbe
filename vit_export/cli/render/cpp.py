"""A new C++ project."""

from collections.abc import Iterator

from vit_export.cli.render.blocks import Block, line
from vit_export.codegen.generate import CppProject


def describe_project(project: CppProject) -> Iterator[Block]:
    """Yield where the project is, and the commands that build and test it."""
    place = "in the model file" if project.preprocess == "graph" else "in C++"
    yield line(f"{project.path}: images are resized {place}; {project.images} golden images.")
    for command in project.commands:
        yield line(command, highlight=False)
