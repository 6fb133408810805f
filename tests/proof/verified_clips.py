"""Masked videos, with leaks where tests plant them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from click.testing import Result
from media import Recording, record
from probing import decoded

Run = Callable[..., Result]
FRAMES = 14
LEAK = 8
"""The frame in which tests plant one."""

FACE = np.array([190, 70, 262, 178], np.float32)
"""In the portrait."""


@dataclass(frozen=True)
class Clip:
    """A video, what became of it, and where its face is."""

    source: Path
    output: Path
    audit: Path
    boxes: Sequence[npt.NDArray[np.float32]]


def plant(clip: Clip, path: Path, *, crf: int, frames: Sequence[int] = (LEAK,)) -> Path:
    """Put the source's face back into single frames of the masked video, and encode it again."""
    images = decoded(clip.output, pixel_format="bgr24")
    originals = decoded(clip.source, pixel_format="bgr24")
    for index in frames:
        x1, y1, x2, y2 = (round(float(value)) for value in clip.boxes[index])
        margin = (y2 - y1) // 3
        part = slice(max(0, y1 - margin), y2 + margin), slice(max(0, x1 - margin), x2 + margin)
        images[index][part] = originals[index][part]
    encode(path, images, crf=crf)
    return path


def leaks(result: Result, found: Path) -> list[int]:
    """The frames that are named in the JSON file."""
    assert result.exit_code in (0, 1, 2)
    return sorted({leak["frame"] for leak in json.loads(found.read_text())["leaks"]})


def encode(path: Path, images: list[Any], *, crf: int, times: Sequence[int] | None = None) -> None:
    options = {"preset": "veryfast", "crf": str(crf)}
    base = None if times is None else Fraction(1, 50)
    record(path, images, Recording(options=options, times=times, time_base=base))
