"""From a library's own module to a judge: the module gets the checkpoint's tensors."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from vit_export.checkpoints.libraries.base import CannotJudgeError, Judge, Library, first_line
from vit_export.core.errors import RequestError

MISFIT = "give the --arch or the config.json that the weights were saved with, or --check off."
OTHER_ARCH = "give the --arch that the weights were saved with, or leave it out."


@contextmanager
def report_failure(what: str, fix: str = MISFIT) -> Iterator[None]:
    """Say that a library cannot build a model, whatever its constructor raises.

    Anybody's values reach constructors unchecked.

    Args:
        what: the beginning of the message: `timm cannot build it`.
        fix: what the user can do.

    Raises:
        CannotJudgeError: an error was raised while it was open.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 constructors of libraries fail in any way
        raise CannotJudgeError(f"{what} ({first_line(error)}).", fix) from None


def load_judge(
    library: Library, module: nn.Module, tensors: Mapping[str, Tensor], name: str
) -> Judge:
    """Return a library's module as the judge of these `tensors`, which it takes by their names.

    Args:
        library: where the module comes from.
        module: the module, in evaluation mode; it gets the tensors in place.
        tensors: tensors of the checkpoint.
        name: the architecture, for errors.

    Raises:
        RequestError: a tensor has another shape in the module.
    """
    missing, unexpected = load_tensors(module, tensors, f"{library.name}'s {name}")
    return Judge(
        module=module,
        origin=library.origin,
        name=name,
        answer=module,
        missing=missing,
        unexpected=unexpected,
    )


def fill_missing(module: nn.Module, names: Iterable[str]) -> None:
    """Set the tensors of these `names` to NaN, so that no answer depends on them unnoticed."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for name in names:
        if name in tensors and tensors[name].is_floating_point():
            tensors[name].data.fill_(float("nan"))


def load_tensors(
    module: nn.Module, tensors: Mapping[str, Tensor], where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Load `tensors` into a module; return the names of the missing and the unexpected ones.

    Raises:
        RequestError: a tensor has another shape in the module.
    """
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    check_shapes(
        {
            name: (tuple(tensor.shape), tuple(shapes[name]))
            for name, tensor in tensors.items()
            if name in shapes and tensor.shape != shapes[name]
        },
        where,
    )
    known = {name: tensor for name, tensor in tensors.items() if name in shapes}
    missing = tuple(name for name in shapes if name not in known)
    module.load_state_dict(known, strict=False)
    fill_missing(module, missing)
    return missing, tuple(name for name in tensors if name not in shapes)


def check_shapes(
    misfits: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]], where: str, fix: str = MISFIT
) -> None:
    """Raise RequestError if a tensor of the checkpoint has another shape in the model."""
    if misfits:
        name, (actual, expected) = next(iter(misfits.items()))
        more = f", and {len(misfits) - 1} more" if len(misfits) > 1 else ""
        message = f"{where} does not take these tensors: {name} is {actual} instead of {expected}"
        raise RequestError(f"{message}{more}.", fix)
