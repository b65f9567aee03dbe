"""The reading in a manifest, held against the library that its checkpoint comes from."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vit_export.api.validation_request import ValidationRequest
from vit_export.validation.reading import ReadingError, check_reading

if TYPE_CHECKING:  # torch is heavy, and `validate` on a file alone is done without it
    from vit_export.checkpoints.files import Checkpoint
    from vit_export.model.model import Model


@dataclass
class Confirmation:
    """What the library's own model says of the model in a manifest, which is a claim."""

    request: ValidationRequest
    reading: str
    """The phrase about the reading: the manifest's, until the library answers."""
    failures: list[str] = field(default_factory=list)
    """A sentence if the library's model answers something else."""

    def confirm(self, checkpoint: "Checkpoint", model: "Model") -> None:
        """Compare the model of the manifest with the library's own model of a checkpoint.

        Raises:
            RequestError: the library's model does not take the tensors, or one is required and
                nothing names it.
            MissingError: a library is required and cannot be imported.
        """
        from vit_export.checkpoints.libraries.judging import judge_reading

        hints, check = self.request.hints, self.request.check
        has_arch = hints.arch is not None
        try:
            judged = judge_reading(checkpoint, model, check, check_reading, has_arch=has_arch)
        except ReadingError as error:
            self.reading = "refuted"
            self.failures.append(error.message.rstrip("."))
        else:
            self.reading = judged.reading
