"""One face that is found twice is one; whoever else is close is somebody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import skimage.data
from media import FACE

from benchmarks.coverage.videos import read_clip, write_clip
from faceblur.batch.faces import DetectedFaces
from faceblur.batch.people import find_people
from faceblur.detection import models
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.repository import FAST_MODEL
from faceblur.detections import Detections, FrameDetectionsLog
from faceblur.masks.policy import Policy
from faceblur.tracking import duplicates, keeping, likeness, naming
from faceblur.tracking.likeness import Doubt, LikenessCheck

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
"""Eyes, nose and mouth, in a face's box."""
BOX = (100.0, 100.0, 300.0, 340.0)
CHIN = (120.0, 190.0, 280.0, 340.0)
"""A box that a detector draws around the lower part of the same face."""

Row = list[float]


def face(
    box: Sequence[float], *, score: float = 0.6, eyes_of: Sequence[float] | None = None
) -> Row:
    x0, y0, x1, y1 = box if eyes_of is None else eyes_of
    points = np.array([x0, y0]) + POINTS * [x1 - x0, y1 - y0]
    return [*box, score, *points.ravel().tolist()]


def moved(box: Sequence[float], x: float) -> tuple[float, ...]:
    return box[0] + x, box[1], box[2] + x, box[3]


def logged(found: Callable[[int], dict[int, Row]], count: int = 60) -> FrameDetectionsLog:
    """Faces at 25 frames a second, by the number of the tracker."""
    log = FrameDetectionsLog()
    for i in range(count):
        rows = found(i)
        log.append(Fraction(i, 25), Detections.from_rows([*rows.values()], [*rows]))
    return log


def kept(log: FrameDetectionsLog, doubts: Sequence[Doubt] = ()) -> list[int]:
    """Frames that show the first track, where it alone is kept; all of it, or nothing."""
    steady = {track.id: track.steady for track in naming.name_tracks(log, doubts)}
    shown = keeping.unmasked(log, kept={1}, steady=steady)
    for frame, faces in zip(log, shown, strict=True):
        assert faces.tolist() in (
            (frame.detections.tracks == 1).tolist(),
            [False] * len(faces),
        )
    return [frame.index for frame, faces in zip(log, shown, strict=True) if faces.any()]


def doubled(i: int) -> dict[int, Row]:
    """A face whose second box comes and goes, and is filled in for a moment."""
    rows = {7: face(BOX)}
    if 10 <= i < 40:
        rows[8] = face(CHIN, score=0.12, eyes_of=BOX)
    elif 40 <= i < 45:
        rows[8] = face(CHIN, score=0.0)
    return rows


def test_a_face_that_is_found_twice_is_seen_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logged(doubled)
    assert kept(log) == list(range(3, 57))
    assert {int(track) for frame in log for track in frame.detections.tracks} == {1}
    # The broken variant: where nothing is a duplicate, there is somebody else.
    monkeypatch.setattr(duplicates, "_APART", -1.0)
    assert kept(logged(doubled)) == list(range(3, 4))


def test_a_face_goes_on_in_the_box_that_is_left() -> None:
    def found(i: int) -> dict[int, Row]:
        rows = {7: face(BOX)} if i < 32 else {}
        return rows | ({8: face(CHIN, score=0.5, eyes_of=BOX)} if i >= 28 else {})

    assert kept(logged(found)) == list(range(3, 57))


@pytest.mark.parametrize(
    "other",
    [
        face(CHIN, score=0.12),
        face(CHIN, score=0.12, eyes_of=moved(BOX, 60)),
        face(moved(BOX, 120), score=0.12, eyes_of=BOX),
        face((180, 180, 220, 230), score=0.12, eyes_of=BOX),
        [*CHIN, 1.0, *[200.0, 265.0] * 5],
    ],
    ids=["with its own eyes", "half hidden", "beside", "far smaller", "drawn by hand"],
)
def test_somebody_else_in_the_same_place_is_masked_and_so_is_who_is_kept(other: Row) -> None:
    log = logged(lambda i: {7: face(BOX)} | ({8: other} if 20 <= i < 40 else {}))
    shown = kept(log)
    assert set(range(3, 14)) <= set(shown)
    assert set(shown).isdisjoint(range(14, 46))
    for frame in islice(log, 20, 40):
        assert frame.detections.tracks[0] != frame.detections.tracks[1]


def test_a_second_box_that_turns_out_to_be_somebody_ends_the_track() -> None:
    """Found on the face in front first, it goes away with who was behind."""

    def found(i: int) -> dict[int, Row]:
        away = max(0, i - 30) * 8.0
        return {7: face(BOX), 8: face(moved(CHIN, away), score=0.4, eyes_of=moved(BOX, away))}

    log = logged(found, 80)
    shown = kept(log)
    assert 20 <= max(shown) < 31
    # Nowhere is the one who left of the track that stayed.
    for frame in islice(log, 45, None):
        stayed, left = frame.detections.tracks
        assert stayed != left


def test_what_one_box_was_near_goes_for_the_other() -> None:
    """No second box bridges an encounter after which the face may be another one."""

    def found(i: int) -> dict[int, Row]:
        rows = {7: face(BOX)}
        if not 26 <= i < 34:
            rows[8] = face(CHIN, score=0.12, eyes_of=BOX)
        if 28 <= i < 32:
            rows[9] = face(moved(BOX, 210))
        return rows

    log = logged(found)
    naming.name_tracks(log)
    before, after = log[10].detections.tracks, log[50].detections.tracks
    assert set(before.tolist()).isdisjoint(after.tolist())


def test_nor_a_doubt_about_one_of_them() -> None:
    log = logged(lambda i: {7: face(BOX), 8: face(CHIN, score=0.12, eyes_of=BOX)})
    naming.name_tracks(log, [Doubt(7, 1.0, 1.2)])
    assert set(log[25].detections.tracks.tolist()) == {1}
    assert set(log[31].detections.tracks.tolist()) == {2}


# A box that leaps on a face that stays


def grey(*, flipped: bool) -> npt.NDArray[np.uint8]:
    image = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(image[:, ::-1] if flipped else image)


@pytest.mark.parametrize(
    ("how", "tracks"),
    [("leaps", 1), ("other eyes", 2), ("replaced", 2), ("dissolves", 2), ("replaced later", 2)],
)
def test_a_box_may_leap_on_a_face_only_if_nothing_else_changes(
    how: str, tracks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x0, y0, x1, y1 = FACE
    # The lower part of the face, as detectors find close-ups.
    lower = (x0 + 8, y0 + 40, x1 - 8, y1 + 10)
    first, second = grey(flipped=False), np.roll(grey(flipped=True), -65, axis=1)
    check = LikenessCheck()
    numbers = []
    for i in range(60):
        share = {"dissolves": np.clip((i - 25) / 15, 0, 1), "replaced": i >= 30,
                 "replaced later": i >= 45}.get(how, 0)  # fmt: skip
        luma = np.rint(first * (1 - share) + second * float(share)).astype(np.uint8)
        box = lower if i >= 30 else FACE
        eyes = moved(FACE, 50) if how == "other eyes" and i >= 30 else FACE
        rows = [face(box, eyes_of=eyes)]
        numbers.append(int(check.follow(Detections.from_rows(rows, [1]), luma, i / 25).tracks[0]))
    assert len({numbers[20], numbers[-1]}) == tracks
    if how == "leaps":
        monkeypatch.setattr(likeness, "_ON_FACE", 2.0)
        check = LikenessCheck()
        for i in range(40):
            rows = [face(lower if i >= 30 else FACE, eyes_of=FACE)]
            faces = check.follow(Detections.from_rows(rows, [1]), first, i / 25)
        assert faces.tracks[0] > 1


def test_a_real_close_up_is_kept(shared: Path, tmp_path: Path) -> None:
    onnx, model = models.find(FAST_MODEL)
    clip = tmp_path / "clip.mp4"
    write_clip(clip, islice(read_clip(shared / "media" / "single_face.mp4"), 90))
    with closing(InProcessDetector(onnx, model=model)) as detector:
        report = find_people(clip, DetectedFaces(detector, Policy()), Policy())
    assert isinstance(report.frames, FrameDetectionsLog)
    assert max(len(frame.detections) for frame in report.frames) > 1
    assert len(report.tracks) == 1
    steady = {track.id: track.certain for track in report.tracks}
    shown = keeping.unmasked(report.frames, kept={1}, steady=steady)
    assert sum(faces.any() for faces in shown) >= 0.8 * 90


def test_faces_of_no_track_have_no_part_in_it() -> None:
    # As with `--no-cover`: nothing is tracked, and boxes overlap all the same.
    def untracked(i: int) -> dict[int, Row]:
        return {0: face(BOX), -1: face(moved(BOX, 40), score=0.3)}

    def beside(i: int) -> dict[int, Row]:
        return {7: face(BOX), 0: face(moved(BOX, 400))}

    def filled(i: int) -> dict[int, Row]:
        return {0: face(BOX), -1: face(CHIN, score=0.0)}

    for found, names in ((untracked, []), (filled, []), (beside, [1])):
        log = FrameDetectionsLog()
        for i in range(30):
            rows = found(i)
            tracks = [max(0, track) for track in rows]
            log.append(Fraction(i, 25), Detections.from_rows([*rows.values()], tracks))
        assert [track.id for track in naming.name_tracks(log)] == names
