"""The classes of images, printed one image after the other."""

import csv
import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from vit_export.api.predict import Prediction, UnreadableImage
from vit_export.cli.errors import DocumentedError, describe_error
from vit_export.cli.render.blocks import Block, Line, Span, line
from vit_export.cli.render.output import show, show_notice
from vit_export.core.errors import RequestError, VitExportError
from vit_export.core.to_json import to_json

COLUMNS = ("image", "class", "probability")
CSV_COLUMNS = ("image", "rank", "class", "probability")
GAP = "   "
MAX_WIDTH = 60
"""Widest column of class names; a longer name moves the rest of its own row."""
MAX_RULE = 80
MAX_NAMES = 3
"""Unreadable images that the last error names; each one is named on stderr before."""

Results = Iterable[Prediction | UnreadableImage]


def show_table(
    results: Results, images: Sequence[str], classes: Sequence[str], *, skip_bad: bool
) -> None:
    """Print a row for each class of each image; the columns are as wide as any name may be.

    Raises:
        RequestError: images can't be read, unless `skip_bad` and others can.
    """
    widths = [max(map(len, ("image", *images)))]
    widths.append(max(len("class"), *(min(len(name), MAX_WIDTH) for name in (*classes, "class 9"))))
    show(_describe_rows(_keep_readable(results, len(images), skip_bad=skip_bad), widths))


def show_csv(results: Results, count: int, *, skip_bad: bool) -> None:
    """Print CSV in UTF-8: a row for each class of each of `count` images.

    Raises:
        RequestError: images can't be read, unless `skip_bad` and others can.
    """
    readable = _keep_readable(results, count, skip_bad=skip_bad)
    for number, prediction in enumerate(readable):
        rows: list[tuple[object, ...]] = [CSV_COLUMNS] if number == 0 else []
        classes = zip(prediction.classes, prediction.probabilities, strict=True)
        rows += [
            (prediction.image, rank, name, f"{share:.6g}")
            for rank, (name, share) in enumerate(classes, 1)
        ]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        click.echo(text.getvalue().encode("utf-8", "surrogateescape"), nl=False)


def show_json_array(results: Results, count: int, *, skip_bad: bool) -> None:
    """Print one JSON array, element by element; an image that can't be read has its error.

    An error that ends the work is the last element.

    Raises:
        RequestError: images can't be read, unless `skip_bad` and others can.
    """
    lead = "[\n"
    bad: list[UnreadableImage] = []
    try:
        for result in results:
            if isinstance(result, UnreadableImage):
                _note(result, bad, count)
            _echo_element(lead, _to_mapping(result))
            lead = ",\n"
    except OSError:  # stdout itself failed
        raise
    except (Exception, KeyboardInterrupt) as error:
        failure = describe_error(error)
        if failure is None or lead == "[\n":
            raise
        document = {"error": failure.message, "fix": failure.fix, "exit_code": failure.exit_code}
        _echo_element(lead, document)
        click.echo("\n]")
        raise DocumentedError(failure) from None
    click.echo("\n]")
    try:
        _check_readable(bad, count, skip_bad=skip_bad)
    except VitExportError as error:
        raise DocumentedError(error) from None


def _to_mapping(result: Prediction | UnreadableImage) -> dict[str, Any]:
    if isinstance(result, Prediction):
        return asdict(result)
    return {"image": result.image, "error": result.error.message, "fix": result.error.fix}


def _echo_element(lead: str, values: dict[str, Any]) -> None:
    click.echo(lead + textwrap.indent(to_json(values), "  "), nl=False)


def _keep_readable(results: Results, count: int, *, skip_bad: bool) -> Iterator[Prediction]:
    """Yield predictions, and name the images without one; the error comes last."""
    bad: list[UnreadableImage] = []
    for result in results:
        if isinstance(result, UnreadableImage):
            _note(result, bad, count)
        else:
            yield result
    _check_readable(bad, count, skip_bad=skip_bad)


def _note(result: UnreadableImage, bad: list[UnreadableImage], count: int) -> None:
    """Name an unreadable image on stderr; raise its error if it is the only image."""
    if count == 1:
        raise result.error
    bad.append(result)
    show_notice([line(f"left out: {result.error.message}", highlight=False)])


def _check_readable(bad: Sequence[UnreadableImage], count: int, *, skip_bad: bool) -> None:
    """Raise RequestError unless all images were read, or some with `skip_bad`."""
    if not bad or (skip_bad and len(bad) < count):
        return
    names = ", ".join(one.image for one in bad[:MAX_NAMES]) + (", …" * (len(bad) > MAX_NAMES))
    message = f"{len(bad)} of {count} images can't be read: {names} ({bad[0].error.message})"
    fix = "repair or leave them out" + (", or give --skip-bad." if len(bad) < count else ".")
    raise RequestError(message, fix)


def _describe_rows(predictions: Iterable[Prediction], widths: Sequence[int]) -> Iterator[Block]:
    """Yield a header before the first prediction, and a line per class."""
    for number, prediction in enumerate(predictions):
        if number == 0:
            yield Line((Span(_join(COLUMNS, widths), "bold"),), highlight=False)
            rule = sum(widths) + len(GAP) * len(widths) + len(COLUMNS[-1])
            yield line("─" * min(rule, MAX_RULE), highlight=False)
        image = prediction.image
        for name, share in zip(prediction.classes, prediction.probabilities, strict=True):
            yield line(_join((image, name, f"{share:.1%}"), widths), highlight=False)
            image = ""  # shown in its first row only


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return GAP.join([*padded, cells[-1]])
