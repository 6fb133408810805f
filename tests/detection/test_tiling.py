"""Large images are detected in tiles, and every face is found once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from hypothesis import given
from hypothesis import strategies as st

from faceblur.detection import models, tiling
from faceblur.detection.detect import IN_FLIGHT, detect
from faceblur.detection.detector import ModelInfo
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DetectionOptions
from faceblur.detection.repository import BUNDLED_MODEL, FAST_MODEL
from faceblur.detection.session import DetectionSession
from faceblur.detection.tiling import (
    MAX_LEVEL_RATIO,
    MAX_VIEWS,
    OVERLAP,
    Tiles,
    View,
    merge,
    plan_views,
)
from faceblur.detections import Detections
from faceblur.errors import DeadlineError, ServerError
from faceblur.image.pixels import BgrImage

lengths = st.integers(1, 30_000)
sizes = st.sampled_from([320, 640, 1280])
ways: st.SearchStrategy[Tiles] = st.sampled_from(["auto", "fine"])
unit = st.floats(0, 1)


# Where to look


@given(lengths, lengths, sizes)
def test_small_images_and_tiles_off_mean_one_view(width: int, height: int, size: int) -> None:
    whole = [View(0, 0, width, height)]
    assert plan_views(width, height, size=size, tiles="off") == whole
    if max(width, height) <= 3 * size:
        assert plan_views(width, height, size=size) == whole
    else:
        assert len(plan_views(width, height, size=size)) > 1


@given(lengths, lengths, sizes, ways, unit, unit, unit)
def test_a_face_smaller_than_the_overlap_lies_wholly_in_some_tile(
    width: int, height: int, size: int, tiles: Tiles, x: float, y: float, part: float
) -> None:
    views = plan_views(width, height, size=size, tiles=tiles)
    assert views[0] == View(0, 0, width, height)
    for side in _levels(views):
        face = part * OVERLAP * side
        left, top = x * max(0, width - face), y * max(0, height - face)
        assert any(
            view.x <= left
            and view.y <= top
            and min(left + face, width) <= view.x + view.width
            and min(top + face, height) <= view.y + view.height
            for view in _of_level(views, side)
        )


def test_without_an_overlap_some_face_lies_in_no_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    def holds_a_face_at_every_border() -> bool:
        views = [view for view in plan_views(3840, 960, size=640) if view.width == 960]
        borders = {view.x + view.width for view in views if view.x + view.width < 3840}
        return all(
            any(v.x <= border - 10 and border + 10 <= v.x + v.width for v in views)
            for border in borders
        )

    assert holds_a_face_at_every_border()
    monkeypatch.setattr(tiling, "OVERLAP", 0.0)
    assert not holds_a_face_at_every_border()


@given(lengths, lengths, sizes, ways)
def test_levels_are_near_each_other_and_views_are_few(
    width: int, height: int, size: int, tiles: Tiles
) -> None:
    views = plan_views(width, height, size=size, tiles=tiles)
    assert len(views) <= MAX_VIEWS
    sides = [max(width, height), *_levels(views)]
    for coarse, fine in pairwise(sides):
        assert 1 <= coarse / fine <= MAX_LEVEL_RATIO * 1.01
    for view in views:
        assert 0 <= view.x <= view.x + view.width <= width
        assert 0 <= view.y <= view.y + view.height <= height


# One box for each face


@given(
    st.integers(2500, 12_000),
    st.integers(2500, 12_000),
    st.floats(24, 1200),
    unit,
    unit,
)
def test_a_face_cut_by_borders_of_tiles_is_one_box(
    width: int, height: int, face: float, x: float, y: float
) -> None:
    left, top = x * (width - face), y * (height - face)
    box = np.array([left, top, left + face, top + face])
    views = plan_views(width, height, size=640)
    seen = [(view, _seen(box, view)) for view in views]
    (found,) = merge(seen, width=width, height=height, threshold=0.2).boxes
    np.testing.assert_allclose(found, box, atol=0.1)


def test_two_parts_of_a_face_that_no_view_shows_whole_become_one_box() -> None:
    left, right = View(0, 0, 1000, 1000), View(800, 0, 1000, 1000)
    parts = [(left, _faces([700, 400, 1000, 800])), (right, _faces([800, 410, 1150, 790]))]
    (found,) = merge(parts, width=1800, height=1000, threshold=0.2).boxes
    np.testing.assert_allclose(found, [700, 400, 1150, 800])


def test_neighbours_stay_two_faces_even_when_one_is_cut() -> None:
    left, right = View(0, 0, 1000, 1000), View(800, 0, 1000, 1000)
    parts = [(left, _faces([700, 400, 850, 600], [900, 400, 1000, 600])), (right, _faces())]
    assert len(merge(parts, width=1800, height=1000, threshold=0.2)) == 2


@pytest.mark.parametrize(
    ("score", "inkling", "faces"), [(0.3, None, 0), (0.3, 0.12, 1), (0.6, None, 1)]
)
def test_a_large_doubtful_face_in_a_tile_needs_a_coarser_view(
    score: float, inkling: float | None, faces: int
) -> None:
    whole, tile = View(0, 0, 3000, 3000), View(0, 0, 1000, 1000)
    coarse = _faces() if inkling is None else _faces([210, 190, 620, 600], score=inkling)
    found = [(whole, coarse), (tile, _faces([200, 200, 600, 600], score=score))]
    assert len(merge(found, width=3000, height=3000, threshold=0.2)) == faces


def test_a_sure_face_before_a_doubtful_larger_one_is_kept() -> None:
    whole, tile = View(0, 0, 3000, 3000), View(0, 0, 1000, 1000)
    found = [
        (whole, _faces([100, 100, 900, 900], score=0.3)),
        (tile, _faces([300, 300, 400, 420], score=0.9)),
    ]
    assert len(merge(found, width=3000, height=3000, threshold=0.2)) == 2


# Real images


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


def _levels(views: list[View]) -> list[int]:
    """The sides of the tiles, coarse to fine."""
    return sorted({max(view.width, view.height) for view in views[1:]}, reverse=True)


def _of_level(views: list[View], side: int) -> list[View]:
    return [view for view in views[1:] if max(view.width, view.height) == side]


def _faces(*boxes: list[float], score: float = 0.8) -> Detections:
    rows = np.zeros((len(boxes), 15), np.float32)
    rows[:, :4], rows[:, 4] = np.array(boxes, np.float32).reshape(-1, 4), score
    return Detections.from_rows(rows)


def _seen(box: npt.NDArray[np.float64], view: View) -> Detections:
    """What an ideal detector answers for a view: the part in it, if it is large enough to see."""
    low = np.maximum(box[:2], [view.x, view.y])
    high = np.minimum(box[2:], [view.x + view.width, view.y + view.height])
    share = np.prod(np.maximum(high - low, 0)) / np.prod(box[2:] - box[:2])
    network = (high - low).min() / max(view.width, view.height) * 640
    if share < 0.3 or network < 8:
        return Detections.empty()
    return _faces([*low, *high], score=float(0.5 + 0.4 * share))


def _share_found(faces: Detections, middles: npt.NDArray[np.float64]) -> float:
    low, high = faces.boxes[:, None, :2], faces.boxes[:, None, 2:]
    return float(((low < middles) & (middles < high)).all(axis=2).any(axis=0).mean())


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
