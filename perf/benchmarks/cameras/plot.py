"""A plot of what each stage of a camera costs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure


def draw_stages(path: Path, *, stages: Mapping[str, float], alone: Mapping[str, float]) -> None:
    """Draw stages beside the same work done alone.

    Args:
        path: A PNG file.
        stages: CPU milliseconds a frame by stage, in the full pipeline.
        alone: The same for the work alone.
    """
    figure = Figure(figsize=(7.5, 2.4), layout="constrained")
    axes = figure.subplots()
    for row, values in enumerate((alone, stages)):
        left = 0.0
        for index, (name, value) in enumerate(values.items()):
            label = name if row == 0 else None
            axes.barh(row, value, left=left, color=f"C{index}", label=label)
            if value > 0.4:
                axes.text(left + value / 2, row, f"{value:.1f}", ha="center", va="center")
            left += value
    axes.set_yticks([0, 1], ["the work alone", "full pipeline"])
    axes.set_xlabel("CPU ms a frame, 1280 × 720")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.25), frameon=False)
    figure.savefig(path, dpi=150)
