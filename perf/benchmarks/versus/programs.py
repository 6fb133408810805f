"""The programs that are compared, and their command lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np

from benchmarks.coverage.score import MARK
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.models import automatic_model
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.video.containers import container_for
from faceblur.video.encoders import choose_encoder
from faceblur.video.options import VideoOptions
from faceblur.video.source import VideoSource

OURS: Final = "faceblur"
IN_PROCESS: Final = "faceblur --in-process"
DEFAULT: Final = "deface"
EQUAL: Final = "deface, equal network"
BACKENDS: Final = {"opencv": "", "onnxrt": ", ONNX Runtime"}
"""What deface runs its network with, and what that adds to its name: a plain installation has
OpenCV alone; its own page recommends ONNX Runtime."""

Command = Callable[[Path, Path], Sequence[str | Path]]
"""From a video and where the result goes."""


@dataclass(frozen=True, eq=False)
class Program:
    """One way to mask a video from a shell.

    Attributes:
        name: What the tables call it.
        command: As a user would type it.
        marked: The same, but with masks of the colour `MARK`, where they were before.
        alone: Likewise, and each frame by itself, with the model that images get: for those that
            have nothing in common.
    """

    name: str
    command: Command
    marked: Command
    alone: Command


def programs(
    deface: Path, folder: Path, *, clip: Path, backends: Sequence[str] = tuple(BACKENDS)
) -> list[Program]:
    """What is compared: ours and deface at their defaults, and deface with our network size.

    Args:
        deface: Its executable.
        folder: For images that it needs.
        clip: A clip like those that will be masked.
        backends: Those of `BACKENDS` that deface shall run with.
    """
    mark = folder / "mark.png"
    cv2.imwrite(str(mark), _marked_ellipse())
    with VideoSource(clip) as source:
        properties = source.properties
        encoder = choose_encoder(container_for(clip), properties, VideoOptions())
    network = Letterbox.plan(properties.width, properties.height, size=DEFAULT_SIZE).resized
    equal = ["-s", "{}x{}".format(*network), "--ffmpeg-config", json.dumps(writer(encoder.options))]
    image = ["--replacewith", "img", "--replaceimg", str(mark)]
    colour = ["--mask", "solid", "--colour", bytes(MARK).hex()]
    return [
        *(
            Program(
                name,
                _faceblur(*options),
                _faceblur(*options, *colour),
                _faceblur(*options, *colour, "--no-cover", "--model", automatic_model("image")),
            )
            for name, options in ((OURS, ()), (IN_PROCESS, ("--in-process",)))
        ),
        *(
            Program(
                name + BACKENDS[backend],
                _deface(deface, "--backend", backend, *options),
                _deface(deface, "--backend", backend, *options, *image),
                _deface(deface, "--backend", backend, *options, *image),
            )
            for backend in backends
            for name, options in ((DEFAULT, []), (EQUAL, equal))
        ),
    ]


def writer(settings: dict[str, str]) -> dict[str, Any]:
    """The --ffmpeg-config of deface for libx264 with some settings, as PyAV takes them."""
    parameters = [word for key, value in settings.items() for word in (f"-{key}", value)]
    return {"codec": "libx264", "quality": None, "output_params": parameters}


def version(deface: Path) -> str:
    """What it says of itself.

    Raises:
        click.ClickException: It cannot be run.
    """
    try:
        done = subprocess.run(
            [deface, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise click.ClickException(f"{deface} cannot be run ({error}); is it deface?") from error
    return done.stdout.strip()


def _faceblur(*options: str) -> Command:
    return lambda source, output: [
        *(sys.executable, "-m", "faceblur", "blur", source, "-o", output),
        *options,
    ]


def _deface(deface: Path, *options: str) -> Command:
    return lambda source, output: [deface, source, "-o", output, *options]


def _marked_ellipse() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """What deface shall paste over a face: the ellipse that it blurs, filled; BGRA."""
    side = 256
    image = np.zeros((side, side, 4), np.uint8)
    image[:, :, :3] = MARK[::-1]
    at = (np.arange(side) + 0.5) * 2 / side - 1
    image[:, :, 3] = np.where(at[:, None] ** 2 + at[None] ** 2 <= 1, 255, 0)
    return image
