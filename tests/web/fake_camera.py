"""What Chromium's fake camera shows: one face that does not move."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from media import Pose, moving_faces

WIDTH, HEIGHT = 640, 360


@cache
def _shown() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    still = Pose(0.5, 0.5, 0.4)
    (image,), (box,) = moving_faces(1, width=WIDTH, height=HEIGHT, motion=lambda _: still)
    return image, box


def image() -> npt.NDArray[np.uint8]:
    """What it shows, (H, W, 3) BGR."""
    return _shown()[0].copy()


def face() -> tuple[int, int, int, int]:
    """Where the face is, x1 y1 x2 y2."""
    x1, y1, x2, y2 = (round(float(each)) for each in _shown()[1])
    return x1, y1, x2, y2


def write(path: Path) -> None:
    """Write it as Chromium takes it, YUV4MPEG2."""
    planes = cv2.cvtColor(image(), cv2.COLOR_BGR2YUV_I420).tobytes()
    head = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F20:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(head + (b"FRAME\n" + planes) * 2)
