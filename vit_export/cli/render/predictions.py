"""The classes of images."""

from collections.abc import Iterator, Sequence

from vit_export.api.predict import Prediction
from vit_export.cli.render.blocks import Block, Row, Table, row


def describe_predictions(predictions: Sequence[Prediction]) -> Iterator[Block]:
    """Yield one row per image and class: name and probability."""
    rows = (one for prediction in predictions for one in _rows(prediction))
    yield Table(("image", "class", "probability"), tuple(rows))


def _rows(prediction: Prediction) -> Iterator[Row]:
    image = prediction.image
    for name, share in zip(prediction.classes, prediction.probabilities, strict=True):
        yield row(image, name, f"{share:.1%}")
        image = ""  # shown in its first row only
