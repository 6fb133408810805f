"""The plain values that JSON and YAML are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from faceblur.schema.mistakes import WrongTypeError


def named(value: object) -> dict[str, Any]:
    """Take an object of JSON; a `WrongTypeError` if it is something else."""
    return cast(dict[str, Any], _only(dict, "an object with named values", value))


def finite(value: object) -> float:
    """Take a finite number; a `WrongTypeError` if it is something else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongTypeError("a number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise WrongTypeError("a number", value)
    return number


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
        raise WrongTypeError("a whole number", value)
    return int(value)


def _only(kind: type, wanted: str, value: object) -> Any:
    if not isinstance(value, kind):
        raise WrongTypeError(wanted, value)
    return value


def _path(value: object) -> Path:
    if not (isinstance(value, str | Path) and str(value)):
        raise WrongTypeError("the path of a file", value)
    return Path(value)


BASIC: Final[tuple[tuple[Any, Callable[[Any], Any], Callable[[Any], Any]], ...]] = (
    (float, finite, float),
    (int, _whole, int),
    (bool, partial(_only, bool, "true or false"), bool),
    (str, partial(_only, str, "a text"), str),
    (Path, _path, str),
    (dict[str, Any], named, dict),
)
