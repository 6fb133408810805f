"""Pans over labelled photographs: it is known where every face is in every frame."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.tiles import canvases
from faceblur_export.data.formats import read_folder

RATE: Final = 25
"""Frames a second."""

MARGIN: Final = 400
"""How far a pan goes, pixels of the photographs."""

Boxes = npt.NDArray[np.float64]


def film(
    folder: Path,
    clip: Path,
    *,
    view: tuple[int, int],
    size: tuple[int, int],
    speed: float,
    frames: int,
) -> list[Boxes]:
    """Pan over the photographs of a folder, side by side, to and fro and a little up and down.

    Args:
        folder: Labelled images.
        clip: Where the video goes.
        view: Width and height of what shows of the photographs, pixels of theirs.
        size: Width and height of the video, of the same shape.
        speed: Of the pan, pixels of the photographs a second.
        frames: How many.

    Returns:
        For each frame, (N, 4) boxes of the faces that show wholly, pixels of the video.
    """
    canvas, boxes = next(canvases(read_folder(folder), view[0] + MARGIN, view[1] + MARGIN // 2))
    scale = size[0] / view[0]
    truth = []
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "20"}
        for number in range(frames):
            way = speed * number / RATE
            x = round(MARGIN - abs(way % (2 * MARGIN) - MARGIN))
            y = round(x / 2)
            shown = canvas[y : y + view[1], x : x + view[0]]
            if size != view:
                shown = np.asarray(cv2.resize(shown, size, interpolation=cv2.INTER_AREA), np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shown), "bgr24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
            here = boxes - np.array([x, y, x, y])
            whole = (here[:, :2] >= 0).all(axis=1) & (here[:, 2:] < view).all(axis=1)
            truth.append(here[whole] * scale)
        container.mux(stream.encode(None))
    return truth
