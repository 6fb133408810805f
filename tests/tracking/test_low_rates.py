"""The cover over time holds at few frames a second, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from tracked_faces import Box, hides

from faceblur.detections import Detections
from faceblur.tracking import LiveCover, TrackingOptions, association, fill_gaps, gaps

THRESHOLD = 0.2
SIZE = 60.0
Masks = Callable[[Sequence[Detections], float], list[Detections]]


def box(x: float, *, y: float = 100.0, left: float = 0.0, top: float = 0.0) -> Box:
    """A face, or what shows of it where its left or upper part (0-1) is hidden."""
    half = SIZE / 2
    return x - half + left * SIZE, y - half + top * SIZE, x + half, y + half


def found(*boxes: Box, score: float = 0.8) -> Detections:
    rows = [[*each, score, *[0.0] * 10] for each in boxes]
    return Detections.from_rows(np.array(rows, np.float32).reshape(-1, 15))


def in_file(seen: Sequence[Detections], rate: float) -> list[Detections]:
    filled = fill_gaps(
        enumerate(seen),
        options=TrackingOptions(),
        threshold=THRESHOLD,
        time_s=lambda i: i / rate,
    )
    return [masked for _, masked in filled]


def live(seen: Sequence[Detections], rate: float) -> list[Detections]:
    cover: LiveCover[int] = LiveCover(threshold=THRESHOLD, lookahead=5)
    due = [each for i, one in enumerate(seen) for each in cover.push(i, one, time_s=i / rate)]
    return [masked for _, masked in [*due, *cover.flush()]]


pytestmark = [
    pytest.mark.parametrize("masks", [in_file, live]),
    pytest.mark.parametrize("rate", [5.0, 10.0, 25.0]),
]


def goes_behind_something(masks: Masks, rate: float) -> bool:
    """Whether somebody who was found once, and then not, is masked in the frame behind."""
    pace = 2.0 * SIZE / rate
    masked = masks([found(box(100)), *[found()] * 12], rate)
    return hides(masked[1], box(100 + pace, left=min(0.9, pace / SIZE)))


def test_who_was_found_once_is_masked_in_the_next_frame(masks: Masks, rate: float) -> None:
    assert goes_behind_something(masks, rate)


def test_who_will_be_found_is_masked_in_the_frame_before(masks: Masks, rate: float) -> None:
    masked = masks([*[found()] * 4, found(box(100)), found(), found()], rate)
    assert hides(masked[3], box(100))


def hurries_past(masks: Masks, rate: float) -> list[int]:
    """Frames in which somebody shows who goes seven sizes a second, and was missed once."""
    way = [box(100 + 7 * SIZE / rate * i) for i in range(7)]
    seen = [found() if i == 2 else found(face, score=0.6) for i, face in enumerate(way)]
    return [i for i, m in enumerate(masks(seen, rate)) if not hides(m, way[i])]


def test_who_hurries_past_is_followed(masks: Masks, rate: float) -> None:
    assert hurries_past(masks, rate) == []


def test_something_else_far_away_does_not_take_a_mask_along(masks: Masks, rate: float) -> None:
    """Somebody is missed in a frame in which something else is found."""
    way = [box(100 + 2 * SIZE / rate * i) for i in range(12)]
    seen = [found(face) for face in way]
    # Nearer than a face is swept in motion blur, and farther than it walks.
    there = box(way[8][0] - 2.2 * SIZE, y=20)
    seen[8] = found(there, score=0.25)
    masked = masks(seen, rate)
    assert hides(masked[8], there)
    assert hides(masked[8], way[8])
    assert hides(masks(seen[:9], rate)[8], way[8])


def test_a_face_of_which_half_was_found_is_masked_whole(masks: Masks, rate: float) -> None:
    way = [box(100 + SIZE / rate * i) for i in range(8)]
    part = (way[7][0], way[7][1] + 0.5 * SIZE, *way[7][2:])
    masked = masks([*map(found, way[:7]), found(part, score=0.4)], rate)
    assert not hides(found(part), way[7])
    assert hides(masked[7], way[7])


def test_what_is_likely_false_does_not_stay(masks: Masks, rate: float) -> None:
    seen = [found()] * 20
    seen[10] = found(box(100), score=0.4)
    assert [i for i, masked in enumerate(masks(seen, rate)) if len(masked)] == [10]


def test_a_clear_face_goes_in_the_end(masks: Masks, rate: float) -> None:
    masked = masks([found(box(100))] * 8 + [found()] * 40, rate)
    limit_s = 1.0 if masks is live else 0.5
    assert [len(m) > 0 for m in masked[8:]] == [(i + 1) / rate <= limit_s + 1e-4 for i in range(40)]


class TestBroken:
    """What the tests above would say without the rules."""

    def test_trust_by_the_clock_alone(
        self, masks: Masks, rate: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gaps, "_TRUST_DETECTIONS", 0)
        assert goes_behind_something(masks, rate) == (masks is live or rate == 25)

    def test_faces_that_hardly_move(
        self, masks: Masks, rate: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(association, "_STRIDE_PER_S", 0.0)
        assert bool(hurries_past(masks, rate)) == (rate == 5)
