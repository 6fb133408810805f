"""Polygons on pixels, against exact arithmetic in fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from faceblur.masks.polygons import Polygon, holds, touched_samples

Point = tuple[Fraction, Fraction]
Exact = int | Fraction
Touched = Callable[..., npt.NDArray[Any]]

WIDTH, HEIGHT = 14, 11
STEPS = st.sampled_from([(1, 1), (2, 1), (2, 2), (4, 4)])


def stars(corners: list[tuple[float, float]]) -> Polygon:
    """A polygon without crossings: corners by angle and distance around the middle."""
    angles = np.sort(np.array([angle for angle, _ in corners]))
    radii = np.array([radius for _, radius in corners])
    points = np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)
    # Sixteenths keep the exact arithmetic quick.
    moved = points + np.array([WIDTH / 2, HEIGHT / 2])
    return (moved * 16).round() / 16


corner = st.tuples(st.floats(0, 6.28), st.floats(0.1, 16))
simple = st.lists(corner, min_size=3, max_size=8, unique_by=lambda c: round(c[0], 2)).map(stars)
on_grid = st.lists(
    st.tuples(st.integers(-2, WIDTH + 2), st.integers(-2, HEIGHT + 2)), min_size=3, max_size=3
).map(lambda points: np.array(points, np.float64))
NOTHING = Fraction(1, 10**9)
"""Areas below this are a matter of rounding."""


def clipped_area(polygon: Polygon, x0: Exact, y0: Exact, x1: Exact, y1: Exact) -> Fraction:
    """Area of a polygon in a rectangle, exactly (Sutherland and Hodgman, 1974)."""
    points: list[Point] = [(Fraction(x), Fraction(y)) for x, y in polygon.tolist()]
    for axis, limit, sign in ((0, x0, 1), (1, y0, 1), (0, x1, -1), (1, y1, -1)):
        kept: list[Point] = []
        for a, b in zip(points, points[1:] + points[:1], strict=True):
            inside_a, inside_b = (sign * (p[axis] - limit) >= 0 for p in (a, b))
            if inside_a:
                kept.append(a)
            if inside_a != inside_b:
                part = (limit - a[axis]) / (b[axis] - a[axis])
                kept.append((a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1])))
        points = kept
    pairs = zip(points, points[1:] + points[:1], strict=True)
    return abs(sum((a[0] * b[1] - b[0] * a[1] for a, b in pairs), Fraction(0))) / 2


def errors(find: Touched, polygon: Polygon, step: tuple[int, int]) -> tuple[int, int]:
    """Samples that were missed though the polygon covers some of them, and the reverse."""
    rows, columns = -(-HEIGHT // step[1]), -(-WIDTH // step[0])
    found = find(polygon, start=(0, 0), shape=(rows, columns), step=step)
    missed = extra = 0
    for row in range(rows):
        for column in range(columns):
            x, y = column * step[0], row * step[1]
            area = clipped_area(polygon, x, y, x + step[0], y + step[1])
            missed += area > NOTHING and not found[row, column]
            if found[row, column] and area == 0:
                # Where an edge passes within a millionth of a sample, rounding may decide.
                low, high = Fraction(-1, 10**6), Fraction(1, 10**6)
                ends = x + low, y + low, x + step[0] + high, y + step[1] + high
                extra += clipped_area(polygon, *ends) == 0
    return missed, extra


@settings(max_examples=40, deadline=None)
@given(st.one_of(simple, on_grid), STEPS)
def test_touches_exactly_the_samples_of_which_it_covers_anything(
    polygon: Polygon, step: tuple[int, int]
) -> None:
    assume(clipped_area(polygon, -99, -99, 99, 99) > 0)
    assert errors(touched_samples, polygon, step) == (0, 0)


def middles_alone(
    polygon: Polygon, *, start: tuple[int, int], shape: tuple[int, int], step: tuple[int, int]
) -> npt.NDArray[Any]:
    """As polygons are usually filled."""
    x, y = (np.arange(shape[1]) + 0.5) * step[0], (np.arange(shape[0]) + 0.5) * step[1]
    contour = polygon.astype(np.float32)
    return np.array([[cv2.pointPolygonTest(contour, (u, v), False) >= 0 for u in x] for v in y])


def bounding_box(
    polygon: Polygon, *, start: tuple[int, int], shape: tuple[int, int], step: tuple[int, int]
) -> npt.NDArray[Any]:
    low, high = polygon.min(axis=0) / step, polygon.max(axis=0) / step
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (x + 1 > low[0]) & (x < high[0]) & (y + 1 > low[1]) & (y < high[1])


def test_less_exact_ways_to_fill_are_noticed() -> None:
    triangle = np.array([[1.2, 0.7], [11.9, 3.1], [4.4, 10.6]])
    assert errors(middles_alone, triangle, (1, 1))[0] > 0
    assert errors(bounding_box, triangle, (1, 1))[1] > 0
    assert errors(touched_samples, triangle, (1, 1)) == (0, 0)


def test_corners_on_pixel_borders_touch_no_pixel_beyond() -> None:
    found = touched_samples(np.array([[2, 1], [6, 1], [6, 4], [2, 4]]), start=(0, 0), shape=(6, 8))
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(found, expected)


def test_all_loops_of_a_polygon_that_crosses_itself_are_covered() -> None:
    angles = np.arange(5) * 2 * 2 * np.pi / 5
    pentagram = np.stack([np.cos(angles), np.sin(angles)], axis=1) * 10 + 12
    assert touched_samples(pentagram, start=(0, 0), shape=(24, 24))[12, 12]
    # The middle is gone round twice; whether a face is spared there must not be guessed.
    assert not holds(pentagram, np.array([[11, 11, 13, 13]])).any()


def test_a_part_of_a_large_image_is_like_the_same_part_of_the_whole() -> None:
    polygon = np.array([[30.5, -40], [300, 700.2], [-20, 1100], [260, 20]])
    whole = touched_samples(polygon, start=(0, 0), shape=(1200, 320))
    part = touched_samples(polygon, start=(100, 500), shape=(64, 50))
    np.testing.assert_array_equal(part, whole[500:564, 100:150])
    assert whole.any()
    assert not whole.all()


box = st.tuples(
    st.floats(-3, WIDTH), st.floats(-3, HEIGHT), st.floats(0.01, 9), st.floats(0.01, 9)
).map(lambda b: (np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]]) * 16).round() / 16)


@settings(max_examples=100, deadline=None)
@given(simple, box)
def test_holds_a_box_only_with_all_of_it(polygon: Polygon, where: npt.NDArray[Any]) -> None:
    x0, y0, x1, y1 = map(Fraction, where.tolist())
    whole = (x1 - x0) * (y1 - y0)
    part = clipped_area(polygon, x0, y0, x1, y1)
    if holds(polygon, where[None])[0]:
        assert part >= whole - NOTHING
    # Where a box only just fits, rounding may decide.
    inner = where + np.array([1, 1, -1, -1]) * 1e-6
    if part == whole and (inner[2:] > inner[:2]).all():
        assert holds(polygon, inner[None])[0]


@pytest.mark.parametrize(
    ("where", "held"),
    [
        ((1, 1, 3, 3), True),
        ((0, 0, 10, 4), True),  # all of the zone's left arm and more, up to its edges
        ((5, 1, 9, 9), False),  # half outside
        ((4, 3, 6, 6), False),  # its corners are inside, its middle is not
        ((-1, 1, 2, 2), False),
        ((20, 20, 22, 22), False),
    ],
)
def test_boxes_in_a_zone_with_a_notch(where: tuple[float, ...], held: bool) -> None:
    # A U on its side: a notch comes in from the lower edge between x = 4.5 and 5.5.
    zone = np.array([[0, 0], [10, 0], [10, 10], [5.5, 10], [5.5, 4], [4.5, 4], [4.5, 10], [0, 10]])
    assert bool(holds(zone, np.array([where]))[0]) is held


def test_many_boxes_at_once_are_judged_each_for_itself() -> None:
    zone = np.array([[0, 0], [10, 0], [0, 10]])
    boxes = np.array([[1, 1, 2, 2], [6, 6, 7, 7], [0, 0, 5, 5], [0, 0, 5.1, 5.1]])
    assert holds(zone, boxes).tolist() == [True, False, True, False]
    assert holds(zone, boxes[:0]).tolist() == []
