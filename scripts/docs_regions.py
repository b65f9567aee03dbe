"""The generated parts of README.md and docs/: a script writes the text between two comments.

<!-- commands: scripts/docs_commands.py -->
...
<!-- end of commands -->
"""

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Region:
    """One generated part of one page."""

    page: str
    """Path from the root of the repository."""
    name: str
    script: str
    """The script that writes the region."""

    def read(self) -> str:
        """Return the content of the region."""
        begin, end = f"<!-- {self.name}: {self.script} -->\n", f"<!-- end of {self.name} -->"
        _, _, rest = self._path.read_text(encoding="utf-8").partition(begin)
        return rest.partition(end)[0]

    def write(self, text: str) -> None:
        """Replace the content of the region by `text`."""
        self._path.write_text(self._page_with(text), encoding="utf-8")

    def check(self, text: str) -> None:
        """End the process unless the region contains `text`."""
        if self._page_with(text) != self._path.read_text(encoding="utf-8"):
            sys.exit(f"{self.page}: {self.name} is out of date. Fix: python {self.script}")

    def write_or_check(self, text: str) -> None:
        """Check with `--check` on the command line, write without."""
        if "--check" in sys.argv:
            self.check(text)
        else:
            self.write(text)

    @property
    def _path(self) -> Path:
        return ROOT / self.page

    def _page_with(self, text: str) -> str:
        page = self._path.read_text(encoding="utf-8")
        begin, end = f"<!-- {self.name}: {self.script} -->\n", f"<!-- end of {self.name} -->"
        if begin not in page or end not in page:
            sys.exit(f"{self.page}: no place for {self.name}. Fix: add {begin.strip()} and {end}")
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        return before + begin + text.strip("\n") + "\n" + end + after
