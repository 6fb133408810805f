"""Take values out of JSON that a person may have edited, with errors that say where."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from faceblur.errors import InputError


class JsonObject:
    """The members of a JSON object, each taken by what it must be.

    A member that is left out has its default; one that nobody takes is an error, as it was meant
    to do something.
    """

    def __init__(self, value: object, where: str) -> None:
        """Wrap a parsed value.

        Args:
            value: As `json.loads` gives it.
            where: What to call it in errors.

        Raises:
            InputError: It is no object.
        """
        if not isinstance(value, dict):
            raise InputError(f"{where} must be an object with named values, not {_shown(value)}")
        self._values: dict[str, Any] = value
        self._where = where
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        return finite(self._take(name, default), f"{name} in {self._where}")

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{name} in {self._where} must be a whole number, not {_shown(value)}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise InputError(f"{name} in {self._where} must be a text, not {_shown(value)}")
        return value

    def values(
        self, name: str, default: tuple[Any, ...] | None = None
    ) -> Iterator[tuple[str, Any]]:
        """The members of a list, each with what to call it in errors."""
        value = self._take(name, default)
        if not isinstance(value, list | tuple):
            raise InputError(f"{name} in {self._where} must be a list, not {_shown(value)}")
        return ((f"{name}[{i}] in {self._where}", member) for i, member in enumerate(value))

    def any(self, name: str, default: Any = None) -> Any:
        """Whatever there is."""
        self._taken.add(name)
        return self._values.get(name, default)

    def finish(self) -> None:
        """Say that everything was taken.

        Raises:
            InputError: There is a member that was not.
        """
        unknown = sorted(set(self._values) - self._taken)
        if unknown:
            raise InputError(f"{self._where} has no setting {unknown[0]!r}; check how it is spelt")

    def _take(self, name: str, default: Any) -> Any:
        self._taken.add(name)
        value = self._values.get(name, default)
        if value is None:
            raise InputError(f"{self._where} lacks {name!r}")
        return value


def finite(value: object, what: str) -> float:
    """Take a finite number.

    Raises:
        InputError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{what} must be a number, not {_shown(value)}")
    return float(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
