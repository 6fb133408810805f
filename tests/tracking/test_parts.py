"""Small faces stay masked between the passes over the part that they lie in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from faceblur.detection.parts import PERIOD_S, PartDetections
from faceblur.detections import Detections
from faceblur.tracking import LiveCover, TrackingOptions, fill_gaps
from faceblur.tracking.live import LIVE_OPTIONS

RATE = 25
THRESHOLD = 0.2
TURN = 12
"""Every so many frames the part is searched in which the face lies."""

LEFT = (0.0, 0.0, 1000.0, 1000.0)
RIGHT = (900.0, 0.0, 1900.0, 1000.0)
Way = Callable[[int], tuple[float, float]]


def still(frame: int) -> tuple[float, float]:
    return 300.0, 300.0


def walking(frame: int) -> tuple[float, float]:
    return 300.0 + 2.0 * frame, 300.0


def box(way: Way, frame: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x, y = way(frame)
    return np.array([x - 10, y - 12, x + 10, y + 12])


def answers_of(
    way: Way,
    frames: int,
    *,
    found: Iterable[int] | None = None,
    asked: Iterable[int] | None = None,
    score: float = 0.7,
    close: bool = True,
) -> list[Detections]:
    """A face of 24 pixels that only its part shows; other frames show another part."""
    turns = set(range(0, frames, TURN)) if asked is None else set(asked)
    seen = turns if found is None else set(found)
    answers: list[Detections] = []
    for frame in range(frames):
        rows = [[*box(way, frame), score, *[0.0] * 10]] if frame in seen else []
        one = Detections.from_rows(np.array(rows, np.float32).reshape(-1, 15))
        searched = np.array([LEFT if frame in turns else RIGHT], np.float32)
        answers.append(
            PartDetections(
                one.boxes,
                one.scores,
                one.landmarks,
                searched=searched,
                close=np.full(len(one), close),
            )
        )
    return answers


def in_file(answers: list[Detections]) -> list[Detections]:
    filled = fill_gaps(
        enumerate(answers),
        options=TrackingOptions(),
        threshold=THRESHOLD,
        time_s=lambda frame: frame / RATE,
    )
    return [faces for _, faces in filled]


def live(answers: list[Detections]) -> list[Detections]:
    cover: LiveCover[int] = LiveCover(LIVE_OPTIONS, threshold=THRESHOLD)
    shown = (cover.push(i, found, time_s=i / RATE) for i, found in enumerate(answers))
    return [masked for due in shown for _, masked in due]


def hidden(masked: list[Detections], way: Way) -> list[bool]:
    return [
        bool(
            (
                (faces.boxes[:, :2] <= box(way, i)[:2] + 0.5)
                & (faces.boxes[:, 2:] >= box(way, i)[2:] - 0.5)
            )
            .all(axis=1)
            .any()
        )
        for i, faces in enumerate(masked)
    ]


@pytest.mark.parametrize("masks", [in_file, live])
@pytest.mark.parametrize("way", [still, walking])
def test_a_small_face_stays_masked_until_the_next_look(
    masks: Callable[[list[Detections]], list[Detections]], way: Way
) -> None:
    assert all(hidden(masks(answers_of(way, 60)), way))
    # Were it for the whole view to see, it would have been missed in all of these frames.
    assert not all(hidden(masks(answers_of(way, 60, score=0.3, close=False)), way))


@pytest.mark.parametrize("masks", [in_file, live])
def test_one_look_that_misses_it_does_not_unmask(
    masks: Callable[[list[Detections]], list[Detections]],
) -> None:
    shown = hidden(masks(answers_of(still, 96, found=[0, 12, 24, 48, 60, 84])), still)
    assert all(shown)


def test_a_file_masks_it_before_its_part_was_first_looked_at() -> None:
    answers = answers_of(still, 40, asked=[7, 19, 31])
    assert all(hidden(in_file(answers), still))
    assert hidden(live(answers), still)[:8] == [False] * 7 + [True]


@pytest.mark.parametrize("masks", [in_file, live])
def test_what_is_found_once_and_faintly_goes_with_the_next_look(
    masks: Callable[[list[Detections]], list[Detections]],
) -> None:
    """False detections are of this kind; they must not stay for long."""
    shown = hidden(masks(answers_of(still, 60, found=[24], score=0.3)), still)
    assert all(shown[24:36])
    assert not any(shown[36:])
    assert not any(shown[: 24 - TURN + 1])


@pytest.mark.parametrize("masks", [in_file, live])
def test_a_face_that_left_is_masked_for_two_turns(
    masks: Callable[[list[Detections]], list[Detections]],
) -> None:
    shown = hidden(masks(answers_of(still, 100, found=[0, 12, 24, 36])), still)
    assert all(shown[:48])
    assert not any(shown[37 + round(2 * PERIOD_S * RATE) :])


@pytest.mark.parametrize("masks", [in_file, live])
def test_it_stays_masked_while_nobody_gets_to_look(
    masks: Callable[[list[Detections]], list[Detections]],
) -> None:
    """Live, a slow detector leaves frames out, and with them the turns of their parts."""
    shown = hidden(masks(answers_of(still, 120, found=[0], asked=[0, 40, 110])), still)
    assert all(shown[:40])
    assert not any(shown[41:])
    # Nobody looks again at all: not for ever.
    assert not hidden(masks(answers_of(still, 120, found=[0], asked=[0])), still)[-1]
