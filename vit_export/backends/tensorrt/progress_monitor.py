"""TensorRT's progress monitor: reports how far a build is, and can stop it."""

import threading
from typing import Any

from vit_export.core.progress import ReportShare


def make_monitor(library: Any, report_share: ReportShare, stop: threading.Event) -> Any:
    """Return a progress monitor of `library`.

    It reports the share of the build that is done, and ends the build when `stop` is set.
    """

    class Monitor(library.IProgressMonitor):  # type: ignore[misc]
        """Called by the builder, from any of its threads."""

        def __init__(self) -> None:
            super().__init__()
            self._phases = Phases()
            self._lock = threading.Lock()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            """Note that a phase begins within another one."""
            with self._lock:
                self._phases.start(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            """Note that a step ends; return False to end the build."""
            with self._lock:
                self._phases.step(phase, step + 1)
                share = self._phases.share
            report_share(share)
            return not stop.is_set()

        def phase_finish(self, phase: str) -> None:
            """Note that a phase ends."""
            with self._lock:
                self._phases.finish(phase)

    return Monitor()


class Phases:
    """The share of a build that is done. A phase has steps, and runs in one step of another."""

    def __init__(self) -> None:
        self.steps: dict[str, tuple[int, int]] = {}
        """By phase: how many steps are done, of how many."""
        self.parents: dict[str, str] = {}
        self.share = 0.0
        """It never falls: a phase that begins anew takes nothing back."""

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """Begin a phase of that many steps within a step of `parent`."""
        self.steps[phase] = (0, max(steps, 1))
        if parent is not None:
            self.parents[phase] = parent

    def step(self, phase: str, done: int) -> None:
        """Set how many steps of a phase are done."""
        _, steps = self.steps.get(phase, (0, 1))
        self.steps[phase] = (min(done, steps), steps)
        top, share = phase, self._share_of(phase)
        while top in self.parents:
            top = self.parents[top]
            done_there, steps_there = self.steps.get(top, (0, 1))
            share = min((done_there + share) / steps_there, 1.0)
        self.share = max(self.share, share)

    def finish(self, phase: str) -> None:
        """End a phase, whatever steps it had left."""
        self.parents.pop(phase, None)

    def _share_of(self, phase: str) -> float:
        done, steps = self.steps[phase]
        return done / steps
