"""Camera cuts end what is masked, and memory is bounded however long a video is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from tracked_faces import RATE, THRESHOLD, Path, covered, detections, faces, leaks

from faceblur.detections import Detections
from faceblur.tracking import TrackingOptions, fill_gaps
from faceblur.tracking.scene_cuts import CutDetector, thumbnail
from faceblur.tracking.window import Window


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
