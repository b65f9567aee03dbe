"""Checkpoints read safely: a weights file, or a folder with JSON files beside the weights.

Weights are safetensors, in one file or in shards, or a pickle, which is read with
`weights_only=True` and so can't execute anything. Files of several gigabytes are mapped into
memory; smaller ones are copied.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load, load_file
from torch import Tensor

from vit_export.checkpoints.adapters import (
    CONFIG_FILE,
    explain_merge,
    holds_lora,
    merge,
    parse_lora,
    replace_labels,
)
from vit_export.checkpoints.families.open_clip_config import find_config, find_trunk
from vit_export.checkpoints.folder import (
    PICKLE_SUFFIXES,
    find_weights_file,
    read_json,
    read_processor,
)
from vit_export.checkpoints.foreign_json import refuse_foreign_json
from vit_export.checkpoints.formats import check_format, check_records, is_safetensors, read_head
from vit_export.checkpoints.nesting import choose_state_dict
from vit_export.checkpoints.pickles import MAX_COPIED_BYTES, is_archive, read_pickle
from vit_export.checkpoints.quantized import check_form
from vit_export.core.errors import RequestError

MAX_NAMES = 3
"""Number of tensors that one error lists."""
OLD_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a file of torch.save before torch 1.6."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Tensors under the names of their file, and the JSON files beside it."""

    path: Path
    """The file or folder that the user named."""
    tensors: dict[str, Tensor]
    keys: tuple[str, ...] = ()
    """Keys under which a file keeps the tensors, outermost first, and their prefix."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Names in the file of tensors that were left out, each with the reason."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Content of config.json, or of open_clip_config.json: the architecture and the labels."""
    base: str = ""
    """Name of the checkpoint that an adapter was merged into; empty if this is no adapter."""
    processor: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the image processor.

    They come from processor_config.json (`transformers` 5), else from preprocessor_config.json.
    """


def read_checkpoint(
    path: Path,
    *,
    prefix: str | None = None,
    base: Path | None = None,
    head_from: str | None = None,
) -> Checkpoint:
    """Return the checkpoint at `path`, a file or a folder.

    Args:
        path: the file or the folder.
        prefix: prefix of the tensors to read, which their names lose; it may begin with keys of the
            file. None reads the only model.
        base: the checkpoint that an adapter at `path` belongs to.
        head_from: name of a module that is read too where it has not the prefix.

    Raises:
        RequestError: the checkpoint is missing, truncated or no weights file, it is a pickle that
            names a class which may be code, or it holds several models.
    """
    file, content = read_content(path)
    if holds_lora(content) or (file.parent / CONFIG_FILE).is_file():
        return _read_adapter(path, content, file, prefix, base)
    if base is not None:
        raise RequestError(f"{path} is no adapter.", "leave --base out.")
    config = read_json(file.parent / "config.json", optional=True)
    open_clip = read_json(file.parent / "open_clip_config.json", optional=True)
    with refuse_foreign_json(path):
        prefix = prefix or find_trunk(open_clip, content)
    weights = choose_state_dict(content, prefix, file, head_from)
    check_form(weights.tensors, path)
    with refuse_foreign_json(path):
        config = dict(find_config(config, open_clip, weights.tensors))
    return Checkpoint(
        path=path,
        tensors=weights.tensors,
        keys=weights.keys,
        unused=weights.unused,
        config=config,
        processor=read_processor(file.parent),
    )


def read_content(path: Path) -> tuple[Path, Any]:
    """Return the weights file at `path`, a file or a folder, and what it holds.

    Raises:
        RequestError: it is missing, truncated or no weights file, or a pickle that names a class
            which may be code.
    """
    file = find_weights_file(path) if path.is_dir() else path
    return file, _read_shards(file) if file.name.endswith(".index.json") else _read_file(file)


def _read_adapter(
    path: Path, content: Any, file: Path, prefix: str | None, base: Path | None
) -> Checkpoint:
    """Return the checkpoint `base` with the adapter merged into it.

    JSON files beside the adapter take precedence over those of the base.
    """
    config = read_json(file.parent / CONFIG_FILE, optional=True)
    if not config:
        message = f"{path} holds a model with LoRA layers that were not merged."
        fix = "where the file was made, merge them: model = model.merge_and_unload(), and then "
        raise RequestError(message, f"{fix}torch.save(model.state_dict(), 'weights.pth').")
    lora = parse_lora(config, path)
    if base is None:
        name = config.get("base_model_name_or_path") or "the base"
        message = f"{path} is a LoRA adapter of {name}: it holds changes of that model alone."
        fix = "give --base with the folder or file of that model; or "
        raise RequestError(message, f"{fix}{explain_merge(config)}")
    whole = read_checkpoint(base, prefix=prefix)
    tensors = merge(content, lora, whole.tensors, path)
    own_config = read_json(file.parent / "config.json", optional=True)
    return replace(
        whole,
        path=path,
        tensors=tensors,
        config=own_config or replace_labels(whole.config, tensors),
        processor=read_processor(file.parent) or whole.processor,
        base=base.name,
    )


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the checkpoint at `path`.

    Raises:
        RequestError: as in `read_checkpoint`.
    """
    return read_checkpoint(path).tensors


def _read_shards(index: Path) -> dict[str, Any]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(n, str) for n in names.values()):
        raise RequestError(f"{index} has no weight_map of names to files.", "copy it again.")
    tensors: dict[str, Any] = {}
    for shard in sorted(set(names.values())):
        content = _read_file(index.parent / Path(shard).name)
        tensors |= content if isinstance(content, dict) else {}
    missing = [name for name in names if name not in tensors]
    if missing:
        listing = ", ".join(missing[:MAX_NAMES]) + (", …" if len(missing) > MAX_NAMES else "")
        message = f"{index} lists {len(missing)} tensors that its files do not hold: {listing}."
        raise RequestError(message, "copy the files again, all from one place.")
    return tensors


def _read_file(path: Path) -> Any:
    """Return what a weights file holds: tensors by their names, or nested dictionaries of them."""
    if not path.is_file():
        raise RequestError(f"{path}: no such weights file.", "check the path.")
    check_format(path)
    if is_archive(path):
        check_records(path)
        return read_pickle(path)
    is_named = path.name.lower().endswith(PICKLE_SUFFIXES)
    if read_head(path).startswith(OLD_PICKLE) or (is_named and not is_safetensors(path)):
        return read_pickle(path)
    try:
        is_copied = path.stat().st_size <= MAX_COPIED_BYTES
        return load(path.read_bytes()) if is_copied else load_file(path)
    except Exception as error:  # noqa: BLE001 damaged bytes make a reader raise anything
        if path.suffix != ".safetensors" and not is_safetensors(path):
            message = f"{path} is neither a safetensors file nor one of torch.save."
            raise RequestError(message, "give the file of the weights.") from None
        message = f"{path} is not a whole safetensors file ({error})."
        raise RequestError(message, "copy it again.") from None
