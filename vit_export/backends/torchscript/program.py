"""The code of a TorchScript file, checked word by word before LibTorch loads it.

TorchScript is a language that can write files, and `torch.jit.load` runs a class's `__setstate__`.
The files of vit-export are traced and frozen: one class whose `forward` calls operators on tensors.
Whatever else stands in the code is refused. The check is of words and not of a parsed program, so
that no difference between two parsers matters.
"""

import keyword
import re
from pathlib import Path

from vit_export.backends.torchscript.archive import measure_records, read_texts, refuse
from vit_export.backends.torchscript.constants import check_constants, check_object

VIEWS = (
    "cat chunk clone contiguous expand expand_as flatten permute reshape select size slice split "
    "split_with_sizes squeeze stack t transpose unbind unflatten unsqueeze view "
    "constant_pad_nd flip gather index index_select meshgrid movedim pad repeat roll type_as"
)
NEW_TENSORS = "arange full ones ones_like zeros zeros_like"
ARITHMETIC = (
    "__and__ __or__ __rshift__ abs add addmm baddbmm bitwise_and bitwise_or bmm ceil clamp "
    "clamp_max clamp_min cos cumsum div eq erf exp floor floor_divide ge gt le linear log "
    "logical_and logical_or lt matmul maximum mean minimum mul ne neg pow reciprocal remainder "
    "round rsqrt rsub sigmoid sign sin sqrt sub sum tanh to where"
)
LAYERS = (
    "_convolution _native_batch_norm_legit_no_training adaptive_avg_pool1d adaptive_avg_pool2d "
    "amax amin avg_pool2d einsum elu group_norm hardsigmoid hardswish hardtanh leaky_relu "
    "linalg_vector_norm masked_fill max_pool2d relu6 rms_norm std upsample_bicubic2d "
    "upsample_bilinear2d upsample_nearest2d var var_mean "
    "conv2d dropout gelu layer_norm log_softmax native_layer_norm relu "
    "scaled_dot_product_attention silu softmax topk"
)
OPERATORS = frozenset(f"{VIEWS} {NEW_TENSORS} {ARITHMETIC} {LAYERS}".split())
"""Operators of vision models, their preprocessing and their heads, and close relatives of them.

Each computes a tensor from tensors. None opens a file, none writes to its input, and none calls
other code. `tests/test_torchscript_programs.py` holds that every file of vit-export needs no more.
"""
NAMES = re.compile(
    r"torch\.(?P<operator>\w+)|CONSTANTS\.c[0-9]+|__torch__(?!\.torch\b)(?:\.[A-Za-z]\w*)+",
    re.ASCII,
)
"""The names with a dot that may stand in code: an operator, a constant, or the type of a class."""
OTHER_TORCH = {"device"}
"""Names in `torch` that are no operators: the device of a new tensor."""
WORD = re.compile(
    r"(?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"|(?P<number>-?[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?(?![\w.]))"
    r'|(?P<text>"(?:cpu|floor|trunc|none|tanh|constant|reflect|ij|[a-zA-Z, ]*->[a-zA-Z ]*)")'
    r"|(?P<space>[ \n]+)|(?P<sign>->|[()\[\],:=])",
    re.ASCII,
)
"""What code consists of. There are no comments, no operators but in names, and no texts but a
device, a rounding, a form of GELU, a padding, an order of axes and the equation of an einsum."""
KEYWORDS = {"class", "def", "else", "if", "return", "None", "True", "False"}
"""The keywords of traced code. It has no loops: they are unrolled."""
CLASS = re.compile(r"class [A-Za-z]\w*\(Module\):", re.ASCII)
CALL = re.compile(r"[ \n]*\(")
CALLED = {"Module", "bool", "float", "forward", "int"}
"""Names without a dot that a bracket may follow; `Module` and `forward` are those of the class."""
SPECIAL = {"__buffers__", "__parameters__"}
"""The only names of a class that begin with two underscores: both lists are empty."""


def check_program(path: Path) -> None:
    """Raise RequestError unless the program of an archive is one that vit-export may have written.

    The file is read as bytes. Nothing of it runs.
    """
    texts = read_texts(path)
    for name, content in texts.items():
        if name.endswith(".py"):
            _check_code(path, content)
    missing = {"data.pkl", "constants.pkl"} - texts.keys()
    if missing:
        raise refuse(path, f"{' and '.join(sorted(missing))} is missing")
    check_object(path, texts["data.pkl"])
    check_constants(path, texts["constants.pkl"], measure_records(path))


def _check_code(path: Path, content: bytes) -> None:
    """Raise RequestError unless code has the words of a traced and frozen program alone."""
    try:
        code = content.decode("ascii")
    except UnicodeDecodeError:
        raise refuse(path, "its code has other characters than ASCII") from None
    if len(re.findall(r"\bclass\b", code)) != len(CLASS.findall(code)):
        raise refuse(path, "its code has a class that is no module")
    position, previous = 0, ""
    while position < len(code):
        match = WORD.match(code, position)
        if match is None:
            raise refuse(path, f"its code has {code[position : position + 20]!r}")
        position = match.end()
        if match["name"]:
            _check_name(
                path, match["name"], previous, is_call=CALL.match(code, position) is not None
            )
        previous = previous if match["space"] else match[0]


def _check_name(path: Path, name: str, previous: str, *, is_call: bool) -> None:
    """Raise RequestError unless a name in code is one that a traced and frozen program has."""
    if "." in name:
        match = NAMES.fullmatch(name)
        operator = match["operator"] if match else None
        if match is None or (operator and operator not in OPERATORS | OTHER_TORCH):
            raise refuse(path, f"its code calls {name[:80]}")
        return
    is_method = previous == "def" and name != "forward"
    is_special = name.startswith("__") and name not in SPECIAL
    is_reserved = name in {"torch", "CONSTANTS", "ops"}
    is_keyword = keyword.iskeyword(name) and name not in KEYWORDS
    is_unknown = is_call and name not in CALLED | KEYWORDS and previous != "class"
    if is_method or is_special or is_reserved or is_keyword or is_unknown:
        raise refuse(path, f"its code has {name[:80]}")
