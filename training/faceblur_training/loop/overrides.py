"""Change single settings by name, as `--set augment.jpeg=0.3` does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from faceblur.errors import InputError

Value = TypeVar("Value")


def override(settings: Value, assignments: Iterable[str]) -> Value:
    """A copy of a settings dataclass with some values replaced.

    Args:
        settings: A dataclass, perhaps of dataclasses.
        assignments: Texts like `schedule.rate=0.002` or `sides=[320,384]`, values in JSON.

    Raises:
        InputError: A name is unknown, or a value is of the wrong kind.
    """
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text} has no value; write NAME=VALUE")
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = value
        settings = _replaced(settings, name.strip().split("."), parsed, text)
    return settings


def _replaced(settings: Any, path: list[str], value: Any, text: str) -> Any:
    names = {field.name for field in dataclasses.fields(settings)}
    if path[0] not in names:
        raise InputError(f"--set {text}: there is no setting {path[0]}; choose of {sorted(names)}")
    old = getattr(settings, path[0])
    if len(path) > 1 and dataclasses.is_dataclass(old):
        return dataclasses.replace(settings, **{path[0]: _replaced(old, path[1:], value, text)})
    if len(path) > 1 or dataclasses.is_dataclass(old):
        raise InputError(f"--set {text}: {path[0]} cannot be set that way")
    return dataclasses.replace(settings, **{path[0]: _like(old, value, text)})


def _like(old: Any, value: Any, text: str) -> Any:
    """The value in the type of the one it replaces."""
    number = (int, float)
    if isinstance(old, bool) or isinstance(value, bool):
        fits = isinstance(old, bool) and isinstance(value, bool)
    elif isinstance(old, int):
        fits = isinstance(value, int)
    elif isinstance(old, float):
        fits = isinstance(value, number)
        value = float(value) if fits else value
    elif isinstance(old, tuple):
        fits = isinstance(value, list) and all(isinstance(item, number) for item in value)
        value = tuple(value) if fits else value
    else:
        fits = isinstance(value, type(old))
    if not fits:
        raise InputError(f"--set {text}: expected something like {old!r}")
    return value
