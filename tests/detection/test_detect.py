"""What is found in real images: in the tiles of large ones, in faint and transparent ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne

from faceblur.detection import models
from faceblur.detection.detect import IN_FLIGHT, detect
from faceblur.detection.detector import ModelInfo
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DetectionOptions
from faceblur.detection.repository import BUNDLED_MODEL, FAST_MODEL
from faceblur.detection.session import DetectionSession
from faceblur.detections import Detections
from faceblur.errors import DeadlineError, ServerError
from faceblur.image.pixels import BgrImage


@pytest.fixture(scope="module")
def bundled() -> Iterator[InProcessDetector]:
    yield from _open(BUNDLED_MODEL)


@pytest.fixture(scope="module")
def fast() -> Iterator[InProcessDetector]:
    """It finds less where there is no face, and less without tiles."""
    yield from _open(FAST_MODEL)


def _open(name: str) -> Iterator[InProcessDetector]:
    onnx, info = models.find(name)
    detector = InProcessDetector(onnx, instances=1, threads=1, model=info)
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def crowd(portrait: BgrImage) -> tuple[BgrImage, npt.NDArray[np.float64]]:
    """12 megapixels with faces 26 to 50 pixels high everywhere, and their middles."""
    image = np.full((3000, 4000, 3), 120, np.uint8)
    middles = []
    for row, y in enumerate(range(100, 2700, 400)):
        for column, x in enumerate(range(100, 3700, 450)):
            side = 128 + 16 * ((row + column) % 8)
            image[y : y + side, x : x + side] = cv2.resize(
                portrait, (side, side), interpolation=cv2.INTER_AREA
            )
            middles.append((x + side * 0.44, y + side * 0.25))
    return image, np.array(middles)


def test_small_faces_in_a_large_image_are_found_with_tiles_alone(
    fast: InProcessDetector, crowd: tuple[BgrImage, npt.NDArray[np.float64]]
) -> None:
    image, middles = crowd
    assert _share_found(detect(fast, image, DetectionOptions(tiles="off")), middles) < 0.3
    found = detect(fast, image, DetectionOptions(threshold=0.25))
    assert _share_found(found, middles) > 0.95
    assert len(found) < 1.1 * len(middles)


def test_a_large_face_in_a_large_image_is_one_face(
    fast: InProcessDetector, portrait: BgrImage
) -> None:
    # All of it is out of focus at this size, which looks like faces to the finest tiles.
    image = cv2.resize(portrait, (3000, 3000), interpolation=cv2.INTER_CUBIC)
    found = detect(fast, np.asarray(image, np.uint8), DetectionOptions())
    assert [box[3] - box[1] > 500 for box in found.select(found.scores > 0.5).boxes] == [True]
    assert len(found) <= 3


def test_deep_images_are_seen_alike_in_every_tile(
    bundled: InProcessDetector, crowd: tuple[BgrImage, npt.NDArray[np.float64]]
) -> None:
    # 12 bits in a 16-bit file: what counts as white must not differ from tile to tile.
    image, middles = crowd
    deep = image[:1500, :2000].astype(np.uint16) * 16
    near = (middles[:, 0] < 1950) & (middles[:, 1] < 1450)
    found = detect(bundled, deep, DetectionOptions(size=320))
    assert _share_found(found, middles[near]) > 0.9


@pytest.mark.parametrize("ink", [0, 255])
def test_faces_that_transparency_draws_are_found(
    fast: InProcessDetector, portrait: BgrImage, ink: int
) -> None:
    grey = cv2.cvtColor(portrait, cv2.COLOR_BGR2GRAY)
    stencil = np.full((512, 512, 4), ink, np.uint8)
    stencil[:, :, 3] = grey if ink else 255 - grey
    (box,) = detect(fast, stencil, DetectionOptions()).boxes
    (expected,) = detect(fast, portrait, DetectionOptions()).boxes
    assert np.abs(box - expected).max() < 60
    # What barely shows is found like any other.
    faint = np.dstack([portrait, np.full_like(grey, 2)])
    faint[0, 0, 3] = 255
    assert len(detect(fast, faint, DetectionOptions())) == 1


@pytest.mark.parametrize("file", ["fog10.png", "dark06.png", "bit_dither512.png"])
def test_a_face_in_fog_or_dark_or_of_two_tones_is_found(
    bundled: InProcessDetector, shared: Path, file: str
) -> None:
    image = cv2.imread(str(shared / "cases" / file))
    assert detect(bundled, image, DetectionOptions()).scores.max() > 0.5


@pytest.mark.parametrize(("contrast", "middle"), [(0.2, 128), (0.1, 128), (0.1, 190), (0.06, 8)])
def test_low_contrast_hides_no_face(
    bundled: InProcessDetector, portrait: BgrImage, contrast: float, middle: int
) -> None:
    faint = np.rint((portrait - 127.5) * contrast + middle).clip(0, 255).astype(np.uint8)
    plain = detect(bundled, portrait, DetectionOptions(threshold=0.3))
    found = detect(bundled, faint, DetectionOptions(threshold=0.3))
    assert len(found) == len(plain) == 1
    assert np.abs(found.boxes - plain.boxes).max() < 30


class _FailsOnce(OneByOne):
    """A detector of which one answer of many fails."""

    model = ModelInfo(name="fake", sha256="")

    def __init__(self, *, failing: int, error: ServerError | None) -> None:
        self.asked = 0
        self.pending: list[Future[Detections]] = []
        self._failing, self._error = failing, error

    def submit_one(self, canvas: BgrImage, *, min_score: float) -> Future[Detections]:
        future: Future[Detections] = Future()
        self.asked += 1
        if self.asked != self._failing:
            future.set_result(Detections.empty())
        elif self._error is not None:
            future.set_exception(self._error)
        self.pending.append(future)
        return future

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "expected"), [(ServerError("it broke"), "it broke"), (None, "no answer within")]
)
def test_one_view_that_fails_fails_the_image(error: ServerError | None, expected: str) -> None:
    detector = _FailsOnce(failing=7, error=error)
    with pytest.raises(DeadlineError if error is None else ServerError, match=expected):
        detect(detector, np.zeros((3000, 4000, 3), np.uint8), DetectionOptions(deadline_s=0.05))
    assert 7 <= detector.asked < 7 + IN_FLIGHT
    assert all(future.done() for future in detector.pending)


def test_views_are_asked_for_a_few_at_a_time() -> None:
    detector = _FailsOnce(failing=1, error=None)
    with pytest.raises(DeadlineError):
        detect(detector, np.zeros((3000, 4000), np.uint8), DetectionOptions(deadline_s=0.05))
    assert detector.asked == IN_FLIGHT


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="measures memory the Unix way")
def test_a_100_megapixel_photo_takes_less_than_2_gb(
    session: DetectionSession, portrait: BgrImage, tmp_path: Path
) -> None:
    source, output = tmp_path / "large.jpg", tmp_path / "out.jpg"
    image = np.tile(cv2.resize(portrait, (2172, 2172)), (4, 6, 1))[:, :11584]
    small = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    for x, y in ((40, 40), (6600, 2200), (11400, 8500)):
        image[y : y + 128, x : x + 128] = small
    assert image.shape[0] * image.shape[1] > 100e6
    cv2.imwrite(str(source), image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    del image
    assert session.server is not None
    line = ["faceblur", "blur", str(source), "-o", str(output), "--server", session.server.address]
    # A process counts the memory of the one that starts it, which must be a small one therefore.
    starter = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", starter, sys.executable, "-m", *line]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    peak = int(said.split()[-1]) * (1 if sys.platform == "darwin" else 1024)
    assert output.exists()
    assert int(said.split(": ")[1].split()[0]) >= 3 + 20, said
    assert peak < 2e9


def _share_found(faces: Detections, middles: npt.NDArray[np.float64]) -> float:
    low, high = faces.boxes[:, None, :2], faces.boxes[:, None, 2:]
    return float(((low < middles) & (middles < high)).all(axis=2).any(axis=0).mean())
