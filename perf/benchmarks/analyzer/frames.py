"""Real frames, as perf_analyzer reads its inputs."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.analyzer.server import Inputs
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.triton.transports import encode_jpeg
from faceblur.errors import InputError

Canvas = npt.NDArray[np.uint8]


def read_frames(sources: Sequence[Path], *, frames: int) -> list[Canvas]:
    """Read frames of images and videos, those of a video a second apart.

    Args:
        sources: Images and videos; of each as many frames as of the others, if it has them.
        frames: How many to return, at most.

    Returns:
        RGB frames (H, W, 3) uint8.

    Raises:
        InputError: One of them is neither.
    """
    each = -(-frames // len(sources))
    found = [frame for source in sources for frame in _read(source, each)]
    return found[:frames]


def canvases(frames: Sequence[Canvas], *, size: int, stride: int) -> list[Canvas]:
    """Letterbox frames, and keep those of the most frequent shape.

    A server batches only images of one shape, and so does perf_analyzer.
    """
    found = fitted(frames, size=size, stride=stride)
    shape = Counter(canvas.shape for canvas in found).most_common(1)[0][0]
    return [canvas for canvas in found if canvas.shape == shape]


def fitted(frames: Sequence[Canvas], *, size: int, stride: int) -> list[Canvas]:
    """Letterbox frames, each to the shape that fits it."""
    found = []
    for frame in frames:
        plan = Letterbox.plan(frame.shape[1], frame.shape[0], size=size, stride=stride)
        found.append(plan.apply(frame))
    return found


def write_inputs(path: Path, images: Sequence[Canvas], *, inputs: Inputs, min_score: float) -> Path:
    """Write the JSON file for `--input-data`.

    Args:
        path: The file.
        images: Canvases; sent one after the other, again and again.
        inputs: What the model takes.
        min_score: Lowest score that counts.
    """
    score = {"content": [min_score], "shape": [1]}
    entries: list[dict[str, Any]] = []
    for canvas in images:
        if inputs == "jpeg":
            # As for any input of type BYTES: base64 here, the bytes themselves on the way.
            jpeg = encode_jpeg(canvas)
            size = {"content": [max(canvas.shape[:2])], "shape": [1]}
            entry = {"jpeg": {"b64": _base64(_with_length(jpeg)), "shape": [1]}, "size": size}
        else:
            entry = {"images": {"b64": _base64(canvas.tobytes()), "shape": list(canvas.shape)}}
        entries.append(entry if inputs == "images" else entry | {"min_score": score})
    path.write_text(json.dumps({"data": entries}))
    return path


def _read(source: Path, frames: int) -> Iterator[Canvas]:
    image = cv2.imread(str(source))
    if image is not None:
        yield np.ascontiguousarray(image[:, :, ::-1])
        return
    import av  # images can be read without it

    try:
        with av.open(str(source)) as container:
            wanted = 0.0
            for frame in container.decode(video=0):
                if frame.time is None or frame.time >= wanted:
                    yield frame.to_ndarray(format="rgb24")
                    wanted += 1.0
                    frames -= 1
                if not frames:
                    return
    except (av.FFmpegError, IndexError, OSError) as error:
        raise InputError(f"{source} is neither an image nor a video") from error


def _with_length(value: bytes) -> bytes:
    """A string as Triton's binary format has it."""
    return len(value).to_bytes(4, "little") + value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
