"""One option of a backend: a keyword in Python, a flag on the command line."""

from dataclasses import dataclass
from os import PathLike

from vit_export.core.errors import RequestError, did_you_mean

Value = bool | int | str


@dataclass(frozen=True, kw_only=True)
class Option:
    """What an option is called, which values it takes and what it does."""

    name: str
    """The keyword in Python; with dashes it is the flag too, unless `flag` is set."""
    default: Value
    """Its type is the type of every value."""
    help: str
    minimum: int | None = None
    """Smallest number that the option takes; None for no limit."""
    maximum: int | None = None
    """Largest number that the option takes; None for no limit."""
    choices: tuple[str, ...] = ()
    """The words that a text option takes; empty where it takes any text."""
    flag: str = ""
    metavar: str = "N"
    recorded: bool = True
    """Whether the manifest keeps the value. False for paths and for what leaves the file as is."""

    @property
    def flag_name(self) -> str:
        """The flag on the command line, without its leading dashes."""
        return self.flag or self.name.replace("_", "-")

    def check(self, value: object) -> Value:
        """Return `value` if this option takes it; a path comes back as text.

        Raises:
            RequestError: the value has the wrong type or is out of range.
        """
        if self.choices:
            return self._check_choice(value)
        if isinstance(self.default, str) and isinstance(value, str | PathLike):
            return str(value)
        if isinstance(value, bool) and isinstance(self.default, bool):
            return value
        if type(value) is not int or type(self.default) is not int:
            expected = type(self.default).__name__
            raise RequestError(f"{self.name} is {value!r}.", f"give {self.name} as {expected}.")
        return self._check_range(value)

    def _check_choice(self, value: object) -> str:
        if value not in self.choices:
            raise RequestError(f"{self.name} is {value!r}.", did_you_mean(str(value), self.choices))
        return str(value)

    def _check_range(self, value: int) -> int:
        low, high = self.minimum, self.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            raise RequestError(f"{self.name} {value} is not supported.", f"take {low} to {high}.")
        return value
