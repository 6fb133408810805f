"""The metrics of a run: a CSV that grows with it, and a plot."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from faceblur.errors import OutputError
from faceblur.files import atomic_path

COLUMNS = (
    "step",
    "samples",
    "seconds",
    "rate",
    "norm",
    "loss",
    "box",
    "obj",
    "lmk",
    "cls",
    "raw",
    "hint",
    "ap50",
    "loading",
)
LOSSES = COLUMNS[5:12]


class History:
    """Rows of `metrics.csv`, cut back to the resumed step when a run continues.

    Args:
        folder: Of the run.
        step: Steps done; later rows are dropped, for they will be done again.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        self.path = folder / "metrics.csv"
        self.rows = [row for row in _read(self.path) if int(row["step"]) <= step]
        self._rewrite()

    @property
    def seconds(self) -> float:
        """Training time so far, of all parts of the run."""
        return float(self.rows[-1]["seconds"]) if self.rows else 0.0

    @property
    def best(self) -> float:
        """Best AP50 of a validation so far."""
        known = [float(row["ap50"]) for row in self.rows if row["ap50"]]
        return max(known, default=-math.inf)

    def add(self, values: Mapping[str, float]) -> None:
        """Append one row; columns without a value stay empty."""
        row = {name: _text(values.get(name)) for name in COLUMNS}
        self.rows.append(row)
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS).writerow(row)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error

    def plot(self) -> Path:
        """Draw losses and AP50 over samples to `metrics.png`."""
        # Importing pyplot costs a second that a run without a plot need not pay.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 5), layout="constrained")
        FigureCanvasAgg(figure)
        losses, quality = figure.subplots(1, 2)
        for name in LOSSES:
            points = self._points(name)
            if any(y > 0 for _, y in points):
                losses.plot(*zip(*points, strict=True), marker=".", label=name)
        losses.set(xlabel="samples", yscale="log", title="losses")
        if losses.get_legend_handles_labels()[1]:
            losses.legend()
        points = self._points("ap50")
        if points:
            quality.plot(*zip(*points, strict=True), marker="o")
        quality.set(xlabel="samples", ylim=(0, 1), title="AP50 of held-out images")
        target = self.path.with_suffix(".png")
        with atomic_path(target) as part:
            figure.savefig(part, format="png", dpi=110)
        return target

    def _points(self, name: str) -> Sequence[tuple[float, float]]:
        return [(float(r["samples"]), float(r[name])) for r in self.rows if r.get(name)]

    def _rewrite(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.path.parent} cannot be made ({error.strerror}); choose another --out"
            ) from error
        with atomic_path(self.path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def _read(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # A kill may have cut the last row short.
    return [row for row in rows if row.get("step") and row.get("ap50") is not None]


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"
