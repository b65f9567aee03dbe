"""A limit on memory (`ulimit -v`) below what NumPy needs ends in a sentence.

Without it, OpenBLAS inside NumPy ends the process with a message of its own while it is imported.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

ENOUGH_BYTES = 2**28
ENOUGH_BYTES_PER_CORE = 2**26
"""Above these sums NumPy loads; OpenBLAS has buffers for each core."""
HEADROOM_BYTES = 2**25
"""What the package itself takes besides."""


def check_memory_limit() -> None:
    """Raise SystemExit, with a sentence, unless NumPy loads within the limit on memory.

    Only under a limit that may be too low, another process tries it.
    """
    if sys.platform == "win32" or find_spec("resource") is None:
        return
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    enough = ENOUGH_BYTES + ENOUGH_BYTES_PER_CORE * (os.cpu_count() or 1)
    if limit in {resource.RLIM_INFINITY, -1} or limit >= enough or find_spec("numpy") is None:
        return
    words = [sys.executable, "-P", "-c", f"import numpy; bytearray({HEADROOM_BYTES})"]
    if subprocess.run(words, check=False, capture_output=True).returncode:  # noqa: S603 constant
        message = f"NumPy does not load within {limit >> 20} MiB of memory"
        raise SystemExit(f"Error: {message}.\nFix: raise the limit: ulimit -v {enough >> 10}")
