"""What a run folder remembers: the settings, and where data, teacher and first weights lie."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from faceblur.errors import InputError
from faceblur.files import atomic_path
from faceblur_training.loop.settings import Settings

FILE = "run.json"
Value = TypeVar("Value")


@dataclass(frozen=True)
class RunPlan:
    """A training run and its inputs.

    Attributes:
        settings: How it trains.
        data: The pack.
        teacher: Checkpoint to imitate, or none.
        weights: Checkpoint to start from, or none for fresh weights.
        save_every: Steps between checkpoints.
        validate_every: Steps between validations; 0 for only one at the end.
    """

    settings: Settings
    data: Path
    teacher: Path | None = None
    weights: Path | None = None
    save_every: int = 250
    validate_every: int = 1000

    def absolute(self) -> RunPlan:
        """The same with paths that hold in any working directory."""
        teacher = None if self.teacher is None else self.teacher.resolve()
        weights = None if self.weights is None else self.weights.resolve()
        return dataclasses.replace(self, data=self.data.resolve(), teacher=teacher, weights=weights)

    def write(self, folder: Path) -> None:
        """Store it in a run folder.

        Raises:
            OutputError: It cannot be written.
        """
        text = json.dumps(dataclasses.asdict(self), indent=2, default=str)
        with atomic_path(folder / FILE) as part:
            part.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunPlan:
        """Read it back.

        Raises:
            InputError: The folder holds no run, or one of another version.
        """
        path = folder / FILE
        if not path.is_file():
            raise InputError(f"{folder} holds no training run; start one with --out {folder}")
        try:
            return cast(RunPlan, _build(cls, json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} cannot be used ({error}); start a new run") from error


def _build(kind: Any, value: Any) -> Any:
    """A value of a declared type from what JSON gave."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        known = {field.name for field in dataclasses.fields(kind)}
        if unknown := set(value) - known:
            raise ValueError(f"unknown setting {sorted(unknown)[0]}")
        return kind(**{name: _build(hints[name], part) for name, part in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return None if value is None else _build(typing.get_args(kind)[0], value)
    if typing.get_origin(kind) is tuple:
        return tuple(value)
    return Path(value) if kind is Path else value
