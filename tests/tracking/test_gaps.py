"""No face flashes through: what is masked before, between and after detections of a file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tracked_faces import THRESHOLD, Path, covered, detections, faces, hides, leaks

from faceblur.detections import Detections
from faceblur.tracking import TrackingOptions

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
