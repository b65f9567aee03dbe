"""timm's models, imported with a fake torchvision.

The real one can't be imported beside the CPU build of torch. timm needs its names at import, but
none of them for a Vision Transformer. The fake is removed afterwards, so that nobody else uses it.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types


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
    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 the finder's signature
        if name.partition(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Module(spec.name)

    def exec_module(self, module):
        pass


_finder = _Finder()
_missing = importlib.util.find_spec("torchvision") is None
if _missing:
    sys.meta_path.insert(0, _finder)
try:
    from timm.layers import (
        GELUTanh,
        QuickGELU,
        SwiGLUPacked,
        apply_rot_embed_cat,
        create_rope_embed,
        resample_abs_pos_embed,
    )
    from timm.models import create_model, list_models, save_for_hf
    from timm.models.deit import VisionTransformerDistilled
    from timm.models.vision_transformer import VisionTransformer
finally:
    if _missing:
        sys.meta_path.remove(_finder)
        for _name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[_name]

__all__ = [
    "GELUTanh",
    "QuickGELU",
    "SwiGLUPacked",
    "VisionTransformer",
    "VisionTransformerDistilled",
    "apply_rot_embed_cat",
    "create_model",
    "create_rope_embed",
    "list_models",
    "resample_abs_pos_embed",
    "save_for_hf",
]
