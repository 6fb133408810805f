"""Who may be taken for whom: a track ends where it is not certain."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.people.scenes import people
from faceblur.detections import Detections, FrameDetectionsLog
from faceblur.tracking import encounters, keeping, likeness, naming
from faceblur.tracking.likeness import LikenessCheck

ROOT = Path(__file__).resolve().parents[2]


def logged(
    paths: list[Callable[[int], tuple[float, float]]], count: int = 60
) -> FrameDetectionsLog:
    """Faces of 40 × 50 pixels at 25 frames a second, each on a path; NaN where it is not found."""
    log = FrameDetectionsLog()
    for i in range(count):
        rows, tracks = [], []
        for track, path in enumerate(paths, start=1):
            x, y = path(i)
            if np.isfinite(x):
                rows.append([x, y, x + 40, y + 50, 0.9, *[x + 20, y + 25] * 5])
                tracks.append(track)
        log.append(Fraction(i, 25), Detections.from_rows(rows, tracks))
    return log


def kept(log: FrameDetectionsLog, *ids: int) -> list[list[int]]:
    """Frames in which each face is left unmasked, by the tracks that were given at first."""
    summaries = naming.name_tracks(log)
    steady = {track.id: track.steady for track in summaries}
    shown = keeping.unmasked(log, kept=set(ids), steady=steady)
    return [
        [frame.index for frame, faces in zip(log, shown, strict=True) if name in
         frame.detections.tracks[faces].tolist()]
        for name in ids
    ]  # fmt: skip


def test_a_face_by_itself_is_left_unmasked_but_at_its_ends() -> None:
    (frames,) = kept(logged([lambda i: (100, 100)]), 1)
    assert frames == list(range(3, 57))


def test_a_face_that_comes_near_ends_the_track_for_good() -> None:
    paths = [lambda i: (100.0, 100.0), lambda i: (500.0 - 16 * min(i, 60 - i), 100.0)]
    log = logged(paths)
    before, after = kept(log, 1, 3)
    assert 5 < max(before) < 15
    assert 45 < min(after) < 55
    assert max(frame.detections.tracks.max() for frame in log) == 4


def test_those_who_are_both_kept_may_meet_but_not_with_a_third() -> None:
    together = [lambda i: (100.0, 100.0), lambda i: (160.0, 100.0)]
    assert kept(logged(together), 1) == [[]]
    assert all(len(frames) > 50 for frames in kept(logged(together), 1, 2))
    # Whoever is close to somebody who is close to a third may be the third.
    three = [*together, lambda i: (220.0, 100.0)]
    assert kept(logged(three), 1, 2) == [[], []]
    assert all(len(frames) > 50 for frames in kept(logged(three), 1, 2, 3))


def test_a_gap_and_a_leap_begin_another_track() -> None:
    nan = float("nan")
    gap = logged([lambda i: (nan if 20 <= i < 30 else 100.0, 100.0)])
    assert kept(gap, 1)[0][-1] < 20
    leap = logged([lambda i: (100.0 if i < 30 else 190.0, 100.0)])
    assert kept(leap, 1)[0][-1] < 30
    for log in (gap, leap):
        assert max(frame.detections.tracks.max(initial=0) for frame in log) == 2


def test_what_was_filled_in_or_is_of_no_track_is_masked() -> None:
    log = logged([lambda i: (100.0, 100.0)])
    rows = log.columns()[2].copy()
    rows[30, 4] = 0
    other = FrameDetectionsLog()
    for i, row in enumerate(rows):
        drawn = np.concatenate([row[None], row[None] + 60 * (i == 10)])[: 1 + (i == 10)]
        other.append(Fraction(i, 25), Detections.from_rows(drawn, [1, 0][: len(drawn)]))
    shown = keeping.unmasked(other, kept={1}, steady={1: ((0.0, 99.0),)})
    masked = [i for i, faces in enumerate(shown) if not faces[0]]
    assert masked == [*range(4, 17), 30]
    assert not shown[10][1]
    assert not any(faces.any() for faces in keeping.unmasked(other, kept={1}, steady={}))


def test_without_encounters_a_track_would_go_on_with_whoever_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the distance between faces guards: where none counts, one track has both sides."""
    monkeypatch.setattr(encounters, "_REACH", 0.0)
    monkeypatch.setattr(encounters, "_REACH_PER_S", 0.0)
    paths = [lambda i: (100.0, 100.0), lambda i: (500.0 - 16 * min(i, 60 - i), 100.0)]
    (frames,) = kept(logged(paths), 1)
    assert min(frames) < 15
    assert max(frames) > 45


@pytest.mark.parametrize("span", [1, 12])
def test_a_face_that_is_replaced_in_its_place_begins_another_track(
    monkeypatch: pytest.MonkeyPatch, span: int
) -> None:
    """At once, as behind a cut, and dissolved over half a second."""
    pair = [
        cv2.resize(cv2.cvtColor(person.image, cv2.COLOR_BGR2GRAY), (128, 128))
        for person in people(ROOT / "docs" / "images" / "before.jpg")
    ]
    faces = Detections.from_rows([[30, 20, 80, 80, 1, *[55, 50] * 5]], [1])

    def numbers() -> list[int]:
        check = LikenessCheck()
        found = []
        for i in range(60):
            share = min(1.0, max(0.0, (i - 30) / span))
            luma = np.rint(pair[0] * (1 - share) + pair[1] * share).astype(np.uint8)
            found.append(int(check.follow(faces, luma, i / 25).tracks[0]))
        if len(set(found)) > 1:
            # Doubt reaches back to before the other one could be seen.
            assert min(doubt.start_s for doubt in check.doubts) <= 31 / 25
        return found

    found = numbers()
    assert len(set(found[:30])) == 1
    assert set(found[:30]).isdisjoint(found[-10:])
    monkeypatch.setattr(likeness, "_ALIKE", -1.0)
    assert len(set(numbers())) == 1
