"""Who can be seen beside what is covered: areas, what moves, and other faces."""

from __future__ import annotations

import numpy as np
import pytest

from faceblur.detections import Detections
from faceblur.masks.areas import Area
from faceblur.masks.masker import Masker
from faceblur.masks.silhouettes import silhouettes
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.masks.visibility import visible

WIDTH, HEIGHT = 200, 100


def face(x0: float, y0: float, x1: float, y1: float) -> Detections:
    middle = [(x0 + x1) / 2, (y0 + y1) / 2]
    return Detections.from_rows([[x0, y0, x1, y1, 0.9, *middle * 5]])


@pytest.mark.parametrize(("right", "seen"), [(40, True), (101, True), (104, False), (140, False)])
def test_a_face_under_an_area_is_not_seen_but_half_a_face_is(right: float, seen: bool) -> None:
    area = Area.within(np.array([[0, 0], [right, 0], [right, 100], [0, 100.0]]), WIDTH, HEIGHT)
    assert area is not None
    # A tenth of the ellipse lies right of 0.84 of its width.
    assert visible(face(60, 20, 110, 80), [area], WIDTH, HEIGHT).tolist() == [seen]
    assert visible(face(60, 20, 110, 80), [], WIDTH, HEIGHT).tolist() == [True]


def test_a_face_in_what_moves_is_not_seen() -> None:
    bitmap = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    bitmap[5:45, 10:50] = 255
    faces = Detections.from_rows(
        np.concatenate([face(30, 20, 80, 80).rows(), face(120, 20, 160, 80).rows()])
    )
    shapes = list(silhouettes(bitmap, WIDTH, HEIGHT))
    assert visible(faces, shapes, WIDTH, HEIGHT).tolist() == [False, True]


@pytest.mark.parametrize("feather", [0.0, 1.0])
def test_a_face_beneath_anothers_mask_is_not_seen_unless_through_a_soft_edge(
    feather: float,
) -> None:
    surface = ArraySurface(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    drawn = Masker(MaskStyle(mode="solid", feather=feather, expand=0)).apply(
        surface, face(60, 10, 120, 90)
    )
    beneath, beside = face(70, 20, 110, 80), face(100, 10, 160, 90)
    assert visible(beneath, drawn, WIDTH, HEIGHT).tolist() == [False]
    assert visible(beside, drawn, WIDTH, HEIGHT).tolist() == [True]
    rim = face(56, 5, 124, 95)
    assert visible(rim, drawn, WIDTH, HEIGHT).tolist() == [True]


def test_a_face_outside_the_image_is_not_seen() -> None:
    assert visible(face(300, 20, 350, 80), [], WIDTH, HEIGHT).tolist() == [False]
    assert visible(face(180, 20, 240, 80), [], WIDTH, HEIGHT).tolist() == [True]
