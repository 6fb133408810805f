"""What a run folder remembers: the settings, and where data, teacher and first weights lie."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from faceblur.errors import InputError
from faceblur.files import atomic_path
from faceblur.schema.conversion import from_json
from faceblur_training.loop.settings import Settings

FILE = "run.json"


@dataclass(frozen=True)
class RunPlan:
    """A training run and its inputs.

    Attributes:
        settings: How it trains.
        data: The pack.
        teacher: Checkpoint to imitate, or none.
        weights: Checkpoint to start from, or none for fresh weights.
        left_out: Names of the images that the data set holds and the pack does not.
        save_every: Steps between checkpoints.
        validate_every: Steps between validations; 0 for only one at the end.
    """

    settings: Settings
    data: Path
    teacher: Path | None = None
    weights: Path | None = None
    left_out: tuple[str, ...] = ()
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
            return from_json(json.loads(path.read_text(encoding="utf-8")), cls, "it")
        except ValueError as error:
            reason = str(error).splitlines()[-1]
            raise InputError(f"{path} cannot be used ({reason}); start a new run") from error
