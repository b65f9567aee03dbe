"""A torchvision in name only, while a library is imported that needs its names at import alone.

The real one can't be imported beside the CPU build of torch. timm's models and vit-pytorch's need
no part of it. The fake is removed afterwards, so that nobody else uses it.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from contextlib import contextmanager

NAME = "torchvision"


class _Meta(type):
    def __getattr__(cls, name):
        return _anything(name)


def _anything(name):
    """A class whose attributes are classes of the same kind."""
    if name.startswith("__"):
        raise AttributeError(name)
    return _Meta(name, (), {})


class _Module(types.ModuleType):
    def __getattr__(self, name):
        attribute = _anything(name)
        setattr(self, name, attribute)
        return attribute


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == NAME:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


@contextmanager
def fake_torchvision():
    """Torchvision can be imported while this is open, in name only if it is not installed."""
    if importlib.util.find_spec(NAME) is not None:
        yield
        return
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]
