"""Masks that lean with the face, and never cover less than upright ones."""

from __future__ import annotations

import math
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceblur.detections import Detections
from faceblur.masks.ellipses import FACE_ASPECT, turned_ellipses
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.video.surface import VideoSurface

Array = npt.NDArray[Any]

SIDE = 160
POINTS = np.array([(-0.22, -0.12), (0.22, -0.12), (0, 0.06), (-0.17, 0.25), (0.17, 0.25)])
"""Eyes, nose and corners of the mouth, in heights of the face from its middle."""


def leaning(degrees: float, height: float = 60.0, x: float = 80.0, y: float = 80.0) -> Detections:
    """A face that leans, in the box that a detector would draw around it."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    points = POINTS * height @ turn + (x, y)
    across, down = height / FACE_ASPECT / 2, height / 2
    half = np.array(
        [
            math.hypot(across * math.cos(angle), down * math.sin(angle)),
            math.hypot(across * math.sin(angle), down * math.cos(angle)),
        ]
    )
    row = [x - half[0], y - half[1], x + half[0], y + half[1], 0.9, *points.ravel()]
    return Detections.from_rows([row])


def covered(faces: Detections, **style: Any) -> Array:
    image = np.full((SIDE, SIDE), 255, np.uint8)
    Masker(MaskStyle(mode="solid", **style)).apply(ArraySurface(image), faces)
    result: Array = image == 0
    return result


def without_landmarks(faces: Detections) -> Detections:
    return Detections(faces.boxes, faces.scores, np.zeros_like(faces.landmarks))


def true_face(degrees: float, height: float = 60.0) -> Array:
    """Pixels whose middle lies in the face itself, an ellipse that leans."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - 80
    angle = math.radians(degrees)
    across = x * math.cos(angle) + y * math.sin(angle)
    down = -x * math.sin(angle) + y * math.cos(angle)
    inside: Array = (across * FACE_ASPECT) ** 2 + down**2 <= (height / 2) ** 2
    return inside


@pytest.mark.parametrize("degrees", [-90, -60, -45, -30, 0, 30, 45, 60, 90, 135, 180])
def test_a_face_that_leans_is_covered_without_any_margin(degrees: float) -> None:
    mask = covered(leaning(degrees), expand=0)
    assert mask[true_face(degrees)].all()


def test_the_upright_ellipse_alone_would_not_do() -> None:
    faces = without_landmarks(leaning(45))
    assert not covered(faces, expand=0)[true_face(45)].all()


anything = st.floats(-200, 400, width=32) | st.sampled_from([math.nan, math.inf, 0.0])
places = st.floats(0, SIDE)
boxes = st.tuples(st.floats(-30, 120), st.floats(-30, 120), st.floats(0, 90), st.floats(0, 90))
faces = st.one_of(
    st.builds(
        leaning, st.floats(-180, 180), st.floats(4, 120), st.floats(0, 160), st.floats(0, 160)
    ),
    st.builds(
        lambda b, points: Detections.from_rows(
            [[b[0], b[1], b[0] + b[2], b[1] + b[3], 0, *points]]
        ),
        boxes,
        st.lists(anything, min_size=10, max_size=10),
    ),
)


@settings(max_examples=150, deadline=None)
@given(faces, st.floats(0, 1), st.sampled_from([0.0, 0.3]))
def test_landmarks_only_ever_add_to_a_mask(
    found: Detections, expand: float, feather: float
) -> None:
    with_them = covered(found, expand=expand, feather=feather)
    assert with_them[covered(without_landmarks(found), expand=expand, feather=feather)].all()


@settings(max_examples=150, deadline=None)
@given(
    st.floats(-180, 180),
    st.floats(6, 120),
    st.floats(0, 0.5),
    st.lists(st.floats(-0.1, 0.1), min_size=10, max_size=10),
)
def test_all_landmarks_of_a_leaning_face_are_covered(
    degrees: float, height: float, expand: float, shifts: list[float]
) -> None:
    found = leaning(degrees, height)
    found.landmarks[0] += np.reshape(shifts, (5, 2)) * height
    (ellipse,) = turned_ellipses(found, expand=expand)
    if ellipse is None:
        return
    mask = covered(found, expand=expand)
    x0, y0, x1, y1 = found.boxes[0]
    for x, y in found.landmarks[0]:
        if x0 <= x <= x1 and y0 <= y <= y1:
            assert mask[int(y), int(x)]


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.sampled_from(["yuv420p", "yuv422p10le", "yuv410p"]))
def test_chroma_is_covered_wherever_luma_is(degrees: float, pixel_format: str) -> None:
    grey = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE, 3), 128, np.uint8), format="bgr24")
    surface = VideoSurface(grey.reformat(format=pixel_format))
    old = [plane.pixels.copy() for plane in surface.planes]
    style = MaskStyle(mode="solid", color=(255, 0, 255))
    Masker(style).apply(surface, leaning(degrees))
    luma, *chroma = (plane.pixels != was for plane, was in zip(surface.planes, old, strict=True))
    rows, columns = np.nonzero(luma)
    for plane, changed in zip(surface.planes[1:], chroma, strict=True):
        assert changed[rows // plane.step_y, columns // plane.step_x].all()


@settings(max_examples=60, deadline=None)
@given(st.floats(-180, 180), st.floats(0.05, 1))
def test_a_soft_edge_of_a_leaning_mask_lies_outside_it(degrees: float, feather: float) -> None:
    image = np.full((SIDE, SIDE), 255, np.uint8)
    found = leaning(degrees, 40)
    Masker(MaskStyle(mode="solid", feather=feather)).apply(ArraySurface(image), found)
    assert (image[covered(found)] == 0).all()


@pytest.mark.parametrize("mode", ["blur", "pixelate"])
def test_a_leaning_mask_has_no_more_cells(mode: str) -> None:
    image = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    Masker(MaskStyle(mode=mode)).apply(ArraySurface(image), leaning(40))
    # A square within the mask: of how many row patterns it is made.
    square = np.s_[60:100, 60:100]
    assert covered(leaning(40))[square].all()
    assert np.linalg.matrix_rank(image[square], tol=1e-3) <= 6


@pytest.mark.parametrize("degrees", [-11, 0, 11])
def test_a_face_that_hardly_leans_has_the_upright_mask(degrees: float) -> None:
    assert turned_ellipses(leaning(degrees), expand=0.2) == [None]
