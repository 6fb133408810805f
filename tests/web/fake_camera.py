"""What Chromium's fake camera shows: one face that does not move."""

from __future__ import annotations

import base64
import time
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from media import Pose, moving_faces
from playwright.sync_api import Page

Image = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 640, 360

_SHOWN = "canvas => canvas.toDataURL('image/png')"


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
    head = f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(head + (b"FRAME\n" + planes) * 2)


def drawn(page: Page, canvas: str = "#image") -> Image:
    """What the page shows of a camera, (H, W, 3) BGR."""
    data = base64.b64decode(page.eval_on_selector(canvas, _SHOWN).partition(",")[2])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def difference(shown: Image, original: Image, *, at_face: bool) -> float:
    """How far two images are apart where the face is, or far from it."""
    left, top, right, bottom = face()
    if shown.shape != original.shape:
        return 255.0
    apart = np.abs(shown.astype(int) - original.astype(int)).mean(axis=2)
    inside = np.zeros(apart.shape, bool)
    inside[top:bottom, left:right] = True
    # What is near the face may belong to the mask.
    near = np.zeros(apart.shape, bool)
    near[max(0, top - 60) : bottom + 60, max(0, left - 60) : right + 60] = True
    return float(apart[inside].mean() if at_face else apart[~near].mean())


def is_covered(shown: Image, original: Image) -> bool:
    """Whether it is the camera's image but for the face."""
    assert shown.shape == original.shape
    assert difference(shown, original, at_face=False) < 8
    return difference(shown, original, at_face=True) > 16


def shown(page: Page, canvas: str, original: Image) -> Image:
    """What the page shows once that is the camera's image, with whatever covers the face."""
    until_s = time.monotonic() + 60
    while difference(image := drawn(page, canvas), original, at_face=False) >= 8:
        assert time.monotonic() < until_s, "it shows something else"
        time.sleep(0.1)
    return image
