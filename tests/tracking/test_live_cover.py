"""No face flashes through on a live camera, however rarely it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from tracked_faces import RATE, SLOW, THRESHOLD, Box, Path, detections, faces, hides, leaks

from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.tracking import LiveCover, TrackingOptions, fill_gaps


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
