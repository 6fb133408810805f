"""No face flashes through: what the fill_gaps over time promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path as FilePath

import av
import click
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from hypothesis import given, settings
from hypothesis import strategies as st
from media import Pose, Recording, luma, moving_face_video

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import mask_video
from faceblur.batch.video_detection import frame_bytes
from faceblur.batch.video_detection import thumbnail as frame_thumbnail
from faceblur.cli.policy_options import choice_options, policy_options
from faceblur.detection.detector import ModelInfo
from faceblur.detection.options import DetectionOptions
from faceblur.detections import Detections, FloatArray
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking import LiveCover, TrackingOptions, fill_gaps
from faceblur.tracking.scene_cuts import CutDetector, thumbnail
from faceblur.tracking.window import Window
from faceblur.video.options import VideoOptions

RATE = 30
THRESHOLD = 0.2

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Path:
    """A face on a straight way, or on one that bends."""

    start: tuple[float, float] = (100.0, 100.0)
    step: tuple[float, float] = (3.0, -1.0)
    bend: float = 0.0
    size: float = 60.0

    def box(self, i: int) -> Box:
        x = self.start[0] + self.step[0] * i + self.bend * i * i
        y = self.start[1] + self.step[1] * i
        return x - self.size / 2, y - self.size * 0.6, x + self.size / 2, y + self.size * 0.6


def faces(*boxes: Box, score: float = 0.9) -> Detections:
    rows = [[*box, score, *[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] * 5] for box in boxes]
    return Detections.from_rows(np.array(rows, np.float32))


def detections(path: Path, count: int, *, missed: Iterable[int] = ()) -> list[Detections]:
    lost = set(missed)
    return [Detections.empty() if i in lost else faces(path.box(i)) for i in range(count)]


def covered(
    found: Sequence[Detections | None],
    options: TrackingOptions | None = None,
    *,
    scenes: Sequence[int] | None = None,
) -> list[Detections]:
    """What is masked in each frame; frames are their numbers."""
    looks = None if scenes is None else lambda i: scene(scenes[i])
    out = list(
        fill_gaps(
            enumerate(found),
            options=options or TrackingOptions(),
            threshold=THRESHOLD,
            time_s=lambda i: i / RATE,
            thumbnail=looks,
        )
    )
    assert [number for number, _ in out] == list(range(len(found)))
    return [masked for _, masked in out]


def scene(number: int) -> FloatArray:
    """A thumbnail; other numbers look entirely different."""
    random = np.random.default_rng(number)
    return thumbnail(random.integers(0, 256, (9, 16), np.uint8).repeat(40, 0).repeat(40, 1))


def hides(masked: Detections, box: Box) -> bool:
    """Whether one mask covers a face wholly, with what masks are expanded by."""
    grow = MaskStyle().expand * (masked.boxes[:, 2:] - masked.boxes[:, :2])
    low, high = masked.boxes[:, :2] - grow, masked.boxes[:, 2:] + grow
    return bool(((low <= box[:2]).all(1) & (high >= box[2:]).all(1)).any())


def leaks(masked: Sequence[Detections], path: Path) -> list[int]:
    return [i for i, m in enumerate(masked) if not hides(m, path.box(i))]


paths = st.builds(
    Path,
    start=st.tuples(st.floats(-50, 700), st.floats(-50, 400)),
    step=st.tuples(st.floats(-20, 20), st.floats(-12, 12)),
    bend=st.floats(-0.05, 0.05),
    size=st.floats(8, 200),
)


class TestFiles:
    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_what_is_found_is_masked_as_it_was_found_and_every_frame_comes_out_once(
        self, data: st.DataObject
    ) -> None:
        coordinate = st.floats(0, 640, width=32)
        side = st.floats(2, 200, width=32)
        box = st.tuples(coordinate, coordinate, side, side).map(
            lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
        )
        frame = st.lists(st.tuples(box, st.floats(0.0625, 1, width=32)), max_size=4)
        scenes = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=40))
        found = [
            Detections.from_rows(
                np.array([[*b, s, *[0] * 10] for b, s in data.draw(frame)], np.float32)
            )
            for _ in scenes
        ]
        for seen, masked in zip(found, covered(found, scenes=scenes), strict=True):
            rows = {row.tobytes() for row in masked.rows()}
            for row in seen.select(seen.scores >= THRESHOLD).rows():
                assert row.tobytes() in rows
            assert np.isfinite(masked.rows()).all()
            assert (masked.boxes[:, 2:] >= masked.boxes[:, :2]).all()

    @settings(max_examples=30, deadline=None)
    @given(paths, st.sets(st.integers(10, 49), max_size=30))
    def test_a_face_that_comes_back_is_masked_in_between(
        self, path: Path, missed: set[int]
    ) -> None:
        path = replace(path, size=max(path.size, 3 * abs(path.step[0]), 3 * abs(path.step[1])))
        found = detections(path, 60, missed=missed)
        assert leaks(covered(found), path) == []

    def test_a_face_is_masked_before_it_is_found_and_after_it_is_lost(self) -> None:
        path = Path()
        missed = [*range(20, 30), *range(60, 70)]
        found = detections(path, 90, missed=[*range(30), *range(60, 90)])
        masked = covered(found)
        assert not set(leaks(masked, path)) & set(missed)
        # It does not stay for ever.
        assert not len(masked[0])
        assert not len(masked[-1])

    def test_boxes_grow_while_nothing_is_found(self) -> None:
        masked = covered(detections(Path(step=(0, 0)), 60, missed=range(30, 60)))
        areas = [np.prod(m.boxes[0, 2:] - m.boxes[0, :2]) for m in masked[29:44]]
        assert areas == sorted(areas)
        assert areas[-1] > areas[0]

    @pytest.mark.parametrize("shown", [0.3, 0.6])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_face_of_which_a_part_was_found_is_masked_whole(
        self, shown: float, backwards: bool
    ) -> None:
        path = Path(step=(5, 0))
        x0, y0, x1, y1 = path.box(10)
        found = [Detections.empty()] * 10 + [faces(path.box(i)) for i in range(10, 40)]
        found[10] = faces((x0, y0, x0 + shown * (x1 - x0), y1))
        if backwards:
            found.reverse()
        masked = covered(found)[-11 if backwards else 10]
        assert not hides(found[-11 if backwards else 10], path.box(10))
        assert hides(masked, path.box(10))

    def test_a_face_that_comes_nearer_gets_one_mask(self) -> None:
        found = [faces(Path(step=(0, 0), size=30 * 1.02**i).box(0)) for i in range(40)]
        assert {len(masked) for masked in covered(found)} == {1}

    def test_filled_faces_say_that_they_were_not_seen(self) -> None:
        masked = covered(detections(Path(), 20, missed=[10]))
        assert [m.scores[0] > 0 for m in masked] == [i != 10 for i in range(20)]

    def test_low_scores_count_once_the_face_was_above_the_threshold(self) -> None:
        path = Path()
        found = [faces(path.box(i), score=0.9 if i == 30 else 0.12) for i in range(40)]
        masked = covered(found)
        assert set(leaks(masked, path)) <= set(range(2))
        # On their own they do not.
        assert not any(map(len, covered([faces(path.box(i), score=0.12) for i in range(40)])))

    def test_a_single_false_detection_hardly_spreads(self) -> None:
        found = [Detections.empty() for _ in range(60)]
        found[30] = faces(Path().box(0), score=0.25)
        assert 1 <= sum(len(m) > 0 for m in covered(found)) <= 3

    def test_a_clear_face_does_not_vouch_for_what_is_found_faintly_since(self) -> None:
        box, nothing = Path().box(0), [Detections.empty()] * 30
        clear, faint = [faces(box)] * 30, [faces(box, score=0.11)] * 8
        found = [*clear, *faint, *nothing]
        assert not any(map(len, covered(found)[38:]))
        assert not any(map(len, covered(found[::-1])[:30]))
        # Nor is a clear one forgotten at once.
        assert all(map(len, covered([*nothing, *clear, *nothing])[20:70]))

    def test_a_face_that_is_looked_for_in_vain_is_masked_about_where_it_was(self) -> None:
        still = Path(step=(0, 0))
        widest = max(
            np.prod(m.boxes[0, 2:] - m.boxes[0, :2])
            for m in covered(detections(still, 90, missed=range(30, 58)))
        )
        assert widest <= 1.3 * still.size * still.size * 1.2

    @pytest.mark.parametrize("step", [48, 74])
    def test_a_face_swept_away_in_motion_blur_is_masked_on_its_way(self, step: int) -> None:
        way = [100 + step * n for n in range(1, 5)]
        there = Path((100 + step * 5, 100), (0, 0)).box(0)
        found = [faces(box) for box in [Path(step=(0, 0)).box(0)] * 15 + [there] * 15]
        found[13:17] = [Detections.empty() for _ in way]
        masked = covered(found)
        for x, m in zip(way, masked[13:17], strict=True):
            assert hides(m, Path((x, 100)).box(0))

    @pytest.mark.parametrize("reverse", [False, True])
    def test_a_sure_face_may_be_what_is_found_faintly_where_it_was_just_lost(
        self, reverse: bool
    ) -> None:
        face, blur = Path(step=(0, 0)).box(0), Path((300, 130), (0, 0), size=220).box(0)
        stray = Path((300, 400), (0, 0), size=220).box(0)

        def masked(before: Detections) -> Detections:
            # Found as a face, then only as a blur, faintly; in files as it is, or from behind.
            found = [before] * 15 + [faces(blur, stray, score=0.11)] + [Detections.empty()] * 15
            return covered(found[::-1] if reverse else found)[15]

        assert hides(masked(faces(face)), blur)
        assert not hides(masked(Detections.empty()), blur)
        assert not hides(masked(faces(face, score=0.11)), blur)
        # What was there all the time is something else.
        both = faces(face).rows().tolist() + faces(blur, score=0.11).rows().tolist()
        assert not hides(masked(Detections.from_rows(both)), blur)

    @pytest.mark.parametrize("every", [2, 3, 5])
    def test_frames_between_those_looked_at_are_masked(self, every: int) -> None:
        path = Path(step=(8, 3))
        found = [faces(path.box(i)) if i % every == 0 else None for i in range(60)]
        assert leaks(covered(found, TrackingOptions(detect_every=every)), path) == []

    def test_two_faces_that_pass_each_other_are_both_masked(self) -> None:
        left, right = Path((100, 100), (6, 0)), Path((460, 110), (-6, 0))
        found = [
            Detections.empty() if 27 <= i <= 33 else faces(left.box(i), right.box(i))
            for i in range(60)
        ]
        masked = covered(found)
        assert leaks(masked, left) == []
        assert leaks(masked, right) == []

    def test_without_the_backward_pass_the_first_frames_leak(self) -> None:
        path, found = Path(), detections(Path(), 60, missed=range(10))
        assert leaks(covered(found), path) == []
        assert leaks(covered(found, TrackingOptions(lead_s=0)), path) == list(range(10))

    def test_without_interpolation_and_hold_gaps_leak(self) -> None:
        path, gap = Path(), range(20, 30)
        found = detections(path, 60, missed=gap)
        broken = TrackingOptions(lead_s=0, hold_s=0, gap_s=0)
        assert leaks(covered(found), path) == []
        assert leaks(covered(found, broken), path) == list(gap)


class TestCuts:
    def test_nothing_reaches_across_a_cut(self) -> None:
        found = detections(Path(step=(0, 0)), 60, missed=range(30, 60))
        assert any(map(len, covered(found)[30:]))
        masked = covered(found, scenes=[0] * 30 + [1] * 30)
        assert not any(map(len, masked[30:]))
        found.reverse()
        assert not any(map(len, covered(found, scenes=[0] * 30 + [1] * 30)[:30]))

    def test_the_first_frames_behind_a_cut_are_masked(self) -> None:
        path = Path()
        found = detections(path, 60, missed=range(30, 38))
        assert leaks(covered(found, scenes=[0] * 30 + [1] * 30), path) == []

    def test_cuts_are_told_from_motion_noise_flashes_and_fades(
        self, portrait: npt.NDArray[np.uint8]
    ) -> None:
        random = np.random.default_rng(0)
        grey = portrait[:, :, 1]

        def cuts(*images: npt.NDArray[np.uint8]) -> list[bool]:
            detector = CutDetector()
            return [detector.is_cut(thumbnail(p)) for p in images]

        view = grey[100:400, 100:400]
        swept = grey[100:400, 40:340]
        noisy = np.clip(view + random.normal(0, 40, view.shape), 0, 255).astype(np.uint8)
        flash = np.clip(view.astype(int) + 120, 0, 255).astype(np.uint8)
        part = grey[104:404, 120:420]
        steady = [view, part, view, swept, view, noisy, view, flash, view, view // 2, view]
        assert not any(cuts(*steady))
        other = np.ascontiguousarray(grey[:300, 212:].T)
        assert cuts(view, other, view) == [False, True, True]
        assert cuts(view, np.zeros_like(view), view) == [False, True, True]

    def test_thumbnails_do_not_depend_on_depth_or_size(
        self, portrait: npt.NDArray[np.uint8]
    ) -> None:
        grey = portrait[:360, :, 1]
        deep = grey.astype(np.uint16) << 2
        assert thumbnail(deep, white=1020) == pytest.approx(thumbnail(grey), abs=1e-6)
        assert thumbnail(grey[:5, :7]).shape == (5, 7)


class TestMemory:
    def test_frames_held_back_are_bounded_and_freed(self) -> None:
        """What is held is counted over a video far longer than the window."""
        held = most = 0

        class Frame:
            def __init__(self, number: int) -> None:
                nonlocal held, most
                self.number = number
                held += 1
                most = max(most, held)

            def __del__(self) -> None:
                nonlocal held
                held -= 1

        path = Path(step=(0.01, 0))

        def video() -> Iterator[tuple[Frame, Detections]]:
            for i in range(1000):
                found = faces(path.box(i)) if i % 7 else Detections.empty()
                yield Frame(i), found

        options = TrackingOptions(max_frames=20)
        count = 0
        for frame, _ in fill_gaps(
            video(), options=options, threshold=THRESHOLD, time_s=lambda f: f.number / RATE
        ):
            assert frame.number == count
            count += 1
        assert count == 1000
        assert most <= 20 + 2  # the window, and one each in the hands of source and sink

    def test_tracks_are_forgotten(self) -> None:
        window: Window[int] = Window(TrackingOptions(), threshold=THRESHOLD)
        random = np.random.default_rng(0)
        for i in range(300):
            x, y = random.uniform(0, 5000, 2)
            window.push(i, faces(Path().box(0), (x, y, x + 50, y + 50)), time_s=i / RATE)
            if len(window) > 30:
                window.pop()
        assert len(window._tracks) < 150
        assert all(len(track.frames) < 150 for track in window._tracks)

    def test_large_frames_shorten_the_window(self) -> None:
        assert TrackingOptions().within(1, budget=1000).max_frames == TrackingOptions().max_frames
        assert TrackingOptions().within(100, budget=1000).max_frames == 10
        assert TrackingOptions().within(10_000, budget=1000).max_frames == 1


class TestLive:
    def run(self, found: Sequence[Detections | None], lookahead: int) -> list[Detections]:
        live: LiveCover[int] = LiveCover(threshold=THRESHOLD, lookahead=lookahead)
        out = []
        for i, seen in enumerate(found):
            due = live.push(i, seen, time_s=i / RATE)
            assert [number for number, _ in due] == ([i - lookahead] if i >= lookahead else [])
            out += due
        out += live.flush()
        assert [number for number, _ in out] == list(range(len(found)))
        return [masked for _, masked in out]

    def test_a_lost_face_is_predicted_and_held(self) -> None:
        path = Path()
        assert leaks(self.run(detections(path, 60, missed=range(30, 50)), 0), path) == []

    @pytest.mark.parametrize("lookahead", [0, 1, 5])
    def test_looking_ahead_covers_the_frames_before_a_face_is_found(self, lookahead: int) -> None:
        path = Path()
        masked = self.run(detections(path, 30, missed=range(5)), lookahead)
        assert leaks(masked, path) == list(range(5 - lookahead))

    def test_frames_nobody_looked_at_are_held_however_long_it_takes(self) -> None:
        path = Path(step=(0, 0))
        found: list[Detections | None] = [faces(path.box(0)), *[None] * 120]
        assert leaks(self.run(found, 0), path) == []

    def test_a_slow_camera_is_not_delayed_by_what_cannot_change_its_masks(self) -> None:
        live: LiveCover[int] = LiveCover(threshold=THRESHOLD, lookahead=15)
        box = Path().box(0)

        def shown(i: int, found: Detections | None) -> list[int]:
            return [number for number, _ in live.push(i, found, time_s=i / 2)]

        assert [shown(i, faces(box)) for i in range(4)] == [[], [], [0], [1]]
        # What follows is not known before the detector has looked again.
        assert [shown(i, None) for i in range(4, 9)] == [[2], [3], [], [], []]
        assert shown(9, faces(box)) == [4, 5, 6, 7]

    def test_the_delay_is_stated(self) -> None:
        with pytest.raises(InputError, match="use 0 or more"):
            LiveCover(threshold=THRESHOLD, lookahead=-1)


SLOW = 5
"""Frames a second of a camera whose every second frame is detected."""
SCENE = 640.0
"""Width of its frame, pixels."""


def walkers(
    speed: float, *, size: float, count: int = 1, bend: float = 0.0
) -> tuple[list[list[Box]], list[Detections | None]]:
    """People who walk across, one behind the other, in step, and what every second pass finds.

    Args:
        speed: Sizes of the face per second.
        size: Width of a face, pixels.
        count: People, each as far behind the one before as they go from pass to pass.
        bend: Up and down as they walk, as a part of the size.
    """
    step, start_s = speed * size / SLOW, 1.2
    frames = round(SCENE / step) + 2 * count + round(2 * SLOW * start_s)
    boxes: list[list[Box]] = [[] for _ in range(frames)]
    for n in range(count):
        ways: dict[int, Box] = {}
        for i in range(frames):
            x = step * (i - SLOW * start_s - 2 * n)
            y = 180 + bend * size * np.sin(2 * np.pi * i / 7)
            if size / 2 <= x <= SCENE - size / 2:
                ways[i] = (x - size / 2, y - size * 0.6, x + size / 2, y + size * 0.6)
        if count > 1:
            # Who comes in where another has just been seen cannot be told from that one.
            passes = [i for i in ways if i % 2 == 0]
            ways = {i: box for i, box in ways.items() if passes[0] <= i <= passes[-1]}
        for i, box in ways.items():
            boxes[i].append(box)
    return boxes, [faces(*b) if i % 2 == 0 else None for i, b in enumerate(boxes)]


def bare(masked: Sequence[Detections], truth: Sequence[Sequence[Box]]) -> list[int]:
    """Frames in which somebody's face is not wholly covered."""
    pairs = enumerate(zip(masked, truth, strict=True))
    return [i for i, (m, boxes) in pairs if not all(hides(m, box) for box in boxes)]


class TestSlowPasses:
    """Detections nearly half a second apart: nobody shows in between."""

    @staticmethod
    def masks(
        found: Sequence[Detections | None], lookahead: int | None, offset_s: float = 0.0
    ) -> list[Detections]:
        """What is masked in a file (no look-ahead given), or by a live camera."""
        timed = [(i, offset_s + i / SLOW) for i in range(len(found))]
        if lookahead is None:
            options = TrackingOptions(detect_every=2)
            out = fill_gaps(
                zip(timed, found, strict=True),
                options=options,
                threshold=THRESHOLD,
                time_s=lambda frame: frame[1],
            )
            return [masked for _, masked in out]
        live: LiveCover[int] = LiveCover(threshold=THRESHOLD, lookahead=lookahead)
        due = [live.push(i, seen, time_s=t) for (i, t), seen in zip(timed, found, strict=True)]
        return [masked for _, masked in [*chain.from_iterable(due), *live.flush()]]

    @pytest.mark.parametrize("lookahead", [None, 4, 15])
    @pytest.mark.parametrize("size", [44.0, 60.0])
    @pytest.mark.parametrize("speed", [1.0, 3.0, 5.0, 8.0, 12.0])
    @pytest.mark.parametrize("count", [1, 3])
    def test_whoever_walks_across_is_masked_all_the_way(
        self, count: int, speed: float, size: float, lookahead: int | None
    ) -> None:
        truth, found = walkers(speed, size=size, count=count, bend=0.1)
        assert bare(self.masks(found, lookahead), truth) == []

    @pytest.mark.parametrize("speed", [1.0, 3.0, 5.0, 8.0])
    def test_without_a_look_ahead_at_most_the_frames_after_the_first_look_show(
        self, speed: float
    ) -> None:
        truth, found = walkers(speed, size=50)
        first = next(i for i, boxes in enumerate(truth) if boxes)
        assert len(bare(self.masks(found, 0), truth)) <= 2
        assert all(i <= first + 4 for i in bare(self.masks(found, 0), truth))

    @pytest.mark.parametrize("lookahead", [None, 15])
    def test_two_sightings_that_may_be_anybodys_are_masked_between(
        self, lookahead: int | None
    ) -> None:
        """The nearest one is not the same face; each may have gone to either place."""
        left, right = Path((100, 100), (0, 0), size=50), Path((220, 110), (0, 0), size=50)
        found: list[Detections | None] = [faces(left.box(0)), None, faces(right.box(0))]
        masked = self.masks(found, lookahead)
        assert hides(masked[1], Path((160, 105), (0, 0), size=50).box(0))

    def test_who_sits_still_gets_no_mask_beside_them(self) -> None:
        sitting = [Path((100 + 90 * n, 200), (0, 0), size=50).box(0) for n in range(5)]
        found = [faces(*sitting) if i % 2 == 0 else None for i in range(20)]
        assert [len(m) for m in self.masks(found, None)[7:]] == [5] * 13


class Forgetful(OneByOne):
    """A detector that knows where the face is, but misses it in some frames."""

    model = ModelInfo("forgetful", "0" * 64)

    def __init__(self, boxes: Sequence[Box], *, missed: Iterable[int]) -> None:
        self.asked: list[float] = []
        self._boxes = boxes
        self._missed = set(missed)
        self._every = 1

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        index = len(self.asked) * self._every
        self.asked.append(min_score)
        answer: Future[Detections] = Future()
        seen = index not in self._missed
        answer.set_result(faces(self._boxes[index]) if seen else Detections.empty())
        return answer

    def every(self, frames: int) -> Forgetful:
        self._every = frames
        return self

    def close(self) -> None:
        pass


class TestVideoFiles:
    MISSED = (0, 1, 8, 9, 10, 11, 18, 19)

    def blurred(
        self,
        folder: FilePath,
        cover: TrackingOptions | None,
        *,
        missed: Iterable[int],
        every: int = 1,
    ) -> tuple[list[int], Forgetful]:
        """Frames of a real file in which the face's middle is not black, and the detector."""
        source, output = folder / "face.mkv", folder / "out.mkv"
        how = Recording(encoder="ffv1", options={})
        boxes = moving_face_video(source, frames=20, width=320, height=192, recording=how)
        detector = Forgetful(boxes, missed=missed).every(every)
        how = DetectionOptions(threshold=THRESHOLD, size=320)
        policy = Policy(mask=MaskStyle(mode="solid"), detection=how, cover=cover)
        mask_video(
            source,
            output,
            find_faces=DetectedFaces(detector, policy),
            policy=policy,
            options=VideoOptions(encoder="ffv1"),
        )
        leaked = []
        for index, (image, box) in enumerate(zip(luma(output), boxes, strict=True)):
            x0, y0, x1, y1 = (round(v) for v in box)
            inset_x, inset_y = (x1 - x0) // 4, (y1 - y0) // 4
            inner = image[y0 + inset_y : y1 - inset_y, x0 + inset_x : x1 - inset_x]
            if (inner > 16).any():
                leaked.append(index)
        return leaked, detector

    def test_what_the_detector_misses_is_masked_in_the_file(self, tmp_path: FilePath) -> None:
        leaked, detector = self.blurred(tmp_path, TrackingOptions(), missed=self.MISSED)
        assert leaked == []
        assert set(detector.asked) == {TrackingOptions().min_score(THRESHOLD)}

    def test_who_walks_across_a_slow_video_is_masked_in_the_file(self, tmp_path: FilePath) -> None:
        """At 5 frames a second, with a detection in every second one."""
        source, output = tmp_path / "walk.mkv", tmp_path / "out.mkv"
        how = Recording(rate=Fraction(SLOW), encoder="ffv1", options={})
        boxes = moving_face_video(
            source, frames=14, width=640, height=360, recording=how,
            motion=lambda progress: Pose(0.1 + 0.8 * progress, 0.5, 0.15),
        )  # fmt: skip
        assert (boxes[1] - boxes[0])[0] > 0.9 * (boxes[0][2] - boxes[0][0])
        policy = Policy(
            mask=MaskStyle(mode="solid"),
            detection=DetectionOptions(threshold=THRESHOLD, size=640),
            cover=TrackingOptions(detect_every=2),
        )
        detector = Forgetful([(*map(float, box),) for box in boxes], missed=()).every(2)
        mask_video(
            source,
            output,
            find_faces=DetectedFaces(detector, policy),
            policy=policy,
            options=VideoOptions(encoder="ffv1"),
        )
        for image, box in zip(luma(output), boxes, strict=True):
            x0, y0, x1, y1 = (round(v) for v in box)
            inset_x, inset_y = (x1 - x0) // 4, (y1 - y0) // 4
            assert not (image[y0 + inset_y : y1 - inset_y, x0 + inset_x : x1 - inset_x] > 16).any()

    def test_without_cover_it_leaks(self, tmp_path: FilePath) -> None:
        leaked, detector = self.blurred(tmp_path, None, missed=self.MISSED)
        assert leaked == list(self.MISSED)
        assert set(detector.asked) == {THRESHOLD}

    def test_the_detector_is_asked_about_every_third_frame(self, tmp_path: FilePath) -> None:
        options = TrackingOptions(detect_every=3)
        leaked, detector = self.blurred(tmp_path, options, missed=(), every=3)
        assert leaked == []
        assert len(detector.asked) == 7

    @pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "gbrp", "gray"])
    def test_thumbnails_of_frames_are_alike_at_every_depth(
        self, pixel_format: str, portrait: npt.NDArray[np.uint8]
    ) -> None:
        frame = av.VideoFrame.from_ndarray(portrait, format="bgr24")
        small = frame_thumbnail(frame.reformat(format=pixel_format, dst_color_range="JPEG"))
        assert np.corrcoef(small.ravel(), thumbnail(portrait[:, :, 1]).ravel())[0, 1] > 0.97

    def test_deep_frames_are_counted_as_large(self) -> None:
        assert frame_bytes(64, 32, "yuv420p") == 64 * 32 * 3 // 2
        assert frame_bytes(64, 32, "yuv420p10le") == 64 * 32 * 3


class TestOptions:
    def test_the_detector_is_asked_for_more_than_is_masked(self) -> None:
        assert TrackingOptions().min_score(0.2) == pytest.approx(0.1)
        assert TrackingOptions(track_threshold=0.05).min_score(0.2) == 0.05
        assert TrackingOptions(track_threshold=0.5).min_score(0.2) == 0.2

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ([], TrackingOptions()),
            (["--no-cover"], None),
            (
                ["--cover-before", "0.1", "--cover-after", "2", "--cover-gap", "3"],
                TrackingOptions(lead_s=0.1, hold_s=2, gap_s=3),
            ),
            (["--detect-every", "4"], TrackingOptions(detect_every=4)),
        ],
    )
    def test_extents_are_options(self, given: list[str], wanted: TrackingOptions | None) -> None:
        assert chosen(given) == wanted

    @pytest.mark.parametrize("option", ["--cover-before", "--cover-gap", "--detect-every"])
    def test_no_cover_has_no_extents(self, option: str) -> None:
        with pytest.raises(InputError, match="leave it out"):
            chosen(["--no-cover", option, "1"])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"lead_s": -1},
            {"hold_s": float("nan")},
            {"gap_s": 100},
            {"track_threshold": 0.0},
            {"detect_every": 0},
            {"max_frames": 0},
        ],
    )
    def test_nonsense_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(InputError):
            TrackingOptions(**wrong)  # type: ignore[arg-type]


def chosen(arguments: list[str]) -> TrackingOptions | None:
    """The fill_gaps that `faceblur blur` makes of its options."""

    @click.command()
    @policy_options
    @choice_options
    def command(*, policy: Policy) -> TrackingOptions | None:
        return policy.cover

    result = command.main(arguments, standalone_mode=False)
    assert result is None or isinstance(result, TrackingOptions)
    return result
