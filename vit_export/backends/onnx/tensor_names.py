"""Whether the inputs and outputs of an ONNX file have the names that its manifest says.

Programs take outputs by name. Two outputs of one shape with each other's names would be proven by
their places, and be wrong by their names.
"""

from collections.abc import Sequence

from vit_export.artifact.manifest import Manifest
from vit_export.artifact.outputs import OUTPUT_NAMES
from vit_export.backends.onnx.session import OnnxSession
from vit_export.backends.session import Session


def find_wrong_names(session: Session, manifest: Manifest) -> Sequence[str]:
    """Return a sentence if the inputs or outputs have other names than the manifest says."""
    if not isinstance(session, OnnxSession):
        return []
    signature = manifest.signature
    outputs = OUTPUT_NAMES.get(manifest.head, tuple(one.name for one in signature.outputs))
    expected = {
        "inputs": (
            tuple(one.name for one in signature.inputs),
            tuple(one.name for one in session.interface.inputs),
        ),
        "outputs": (outputs, session.output_names),
    }
    return [
        f"its {kind} are called {', '.join(actual)}, and its manifest says {', '.join(names)}"
        for kind, (names, actual) in expected.items()
        if names != actual
    ]
