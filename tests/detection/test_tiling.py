"""Where the tiles of large images lie, and how their boxes become one for each face."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceblur.detection import tiling
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
