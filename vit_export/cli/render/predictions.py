"""The classes of images or the numbers of a regression, one image after the other."""

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
from vit_export.model.score_function import ScoreFunction

COLUMNS = ("image", "class", "probability")
CSV_COLUMNS = ("image", "rank", "class", "probability")
VALUE_COLUMNS = ("image", "output", "value")
CSV_VALUE_COLUMNS = ("image", "index", "output", "value")
SIGMOID_NOTE = "each class has a probability of its own: they need not sum to 100%"
GAP = "   "
MAX_WIDTH = 60
"""Widest column of class names; a longer name moves the rest of its own row."""
MAX_RULE = 80
MAX_NAMES = 3
"""Unreadable images that the last error names; each one is named on stderr before."""

Results = Iterable[Prediction | UnreadableImage]


def show_table(
    results: Results,
    images: Sequence[str],
    classes: Sequence[str],
    function: ScoreFunction,
    *,
    skip_bad: bool,
) -> None:
    """Print a row for each class of each image; the columns are as wide as any name may be.

    `function` makes the scores. Scores of a sigmoid have a note on stderr.

    Raises:
        RequestError: images can't be read, unless `skip_bad` and others can.
    """
    widths = [max(map(len, ("image", *images)))]
    columns = VALUE_COLUMNS if function == "none" else COLUMNS
    names = (*classes, columns[1], "output 9" if function == "none" else "class 9")
    widths.append(max(min(len(name), MAX_WIDTH) for name in names))
    show(_describe_rows(_keep_readable(results, len(images), skip_bad=skip_bad), columns, widths))
    if function == "sigmoid":
        show_notice([line(SIGMOID_NOTE, highlight=False)])


def show_csv(results: Results, count: int, *, skip_bad: bool) -> None:
    """Print CSV in UTF-8: a row for each class of each of `count` images.

    Raises:
        RequestError: images can't be read, unless `skip_bad` and others can.
    """
    readable = _keep_readable(results, count, skip_bad=skip_bad)
    for number, prediction in enumerate(readable):
        is_regression = prediction.score_function == "none"
        header = CSV_VALUE_COLUMNS if is_regression else CSV_COLUMNS
        rows: list[tuple[object, ...]] = [header] if number == 0 else []
        scores = prediction.values or prediction.probabilities
        classes = zip(prediction.classes, scores, strict=True)
        rows += [
            (prediction.image, rank, name, f"{score:.9g}" if is_regression else f"{score:.6g}")
            for rank, (name, score) in enumerate(classes, 0 if is_regression else 1)
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


def _describe_rows(
    predictions: Iterable[Prediction], columns: Sequence[str], widths: Sequence[int]
) -> Iterator[Block]:
    """Yield a header before the first prediction, and a line per class."""
    for number, prediction in enumerate(predictions):
        if number == 0:
            yield Line((Span(_join(columns, widths), "bold"),), highlight=False)
            rule = sum(widths) + len(GAP) * len(widths) + len(columns[-1])
            yield line("─" * min(rule, MAX_RULE), highlight=False)
        image = prediction.image
        texts = [f"{share:.1%}" for share in prediction.probabilities]
        texts += [f"{value:.6g}" for value in prediction.values]
        for name, text in zip(prediction.classes, texts, strict=True):
            yield line(_join((image, name, text), widths), highlight=False)
            image = ""  # shown in its first row only


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return GAP.join([*padded, cells[-1]])
