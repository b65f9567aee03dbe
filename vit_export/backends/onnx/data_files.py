"""External weights of an ONNX file, compared with the hash in their file's name."""

import hashlib
import mmap
import re
from pathlib import Path

from vit_export.artifact.manifest import KEY
from vit_export.backends.onnx.content import read_content, read_metadata
from vit_export.core.errors import RequestError

NAME = re.compile(r".+\.([0-9a-f]{12})\.data")
"""OUT.<12 hex of the SHA-256>.data, as `graph.save` names it."""
MARK = b"location"
"""The key that every reference to external data has; a file without it has none."""
FIX = "copy the ONNX file and its .data file again, or export the model again."


def check_data_files(path: Path) -> None:
    """Raise RequestError unless the data files of an ONNX file hold what they held at its export.

    A data file that vit-export did not name cannot be checked, and is refused too. Files of other
    tools, which carry no manifest, have data files without a hash.
    """
    if not _mentions_data(path) or KEY not in read_metadata(path):
        return
    names = {tensor.data_file for tensor in read_content(path).tensors}
    for name in sorted(one for one in names if one is not None):
        match, data = NAME.fullmatch(name), path.parent / name
        if match is None or Path(name).name != name:
            raise RequestError(f"{path} has weights in {name!r}, which has no hash.", FIX)
        if not data.is_file():
            raise RequestError(f"{path} needs {data}, which is missing.", FIX)
        with data.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(match[1]):
            message = f"{data} has changed: its SHA-256 begins with {digest[:12]}, not {match[1]}."
            raise RequestError(message, FIX)


def _mentions_data(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(MARK) >= 0
