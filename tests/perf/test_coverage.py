"""The benchmark of leaked faces can tell a leak."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne

from benchmarks.coverage.bench import Bench, Clip
from benchmarks.coverage.clips import ClipMaker
from benchmarks.coverage.command import faces_of
from benchmarks.coverage.labels import agree
from benchmarks.coverage.passers import WALKS, PasserMaker, cut_out
from benchmarks.coverage.scenarios import HEIGHT, SCENARIOS, WIDTH
from benchmarks.coverage.score import MARK, Face, Mask, Score, Scorer
from benchmarks.coverage.videos import write_clip
from faceblur.detection.detector import ModelInfo
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage

ROOT = Path(__file__).resolve().parents[2]
SIZE = (60, 80)


def shape(x: int, width: int = 20) -> Mask:
    inside = np.zeros(SIZE, np.bool_)
    inside[20:40, x : x + width] = True
    return inside


def scored(masks: list[float], *, appearances: list[int] | None = None) -> Score:
    """A face in each frame, of which a part is masked."""
    scorer = Scorer()
    for masked, appearance in zip(masks, appearances or [0] * len(masks), strict=True):
        image = np.full((*SIZE, 3), (90, 120, 160), np.uint8)
        image[shape(30, round(20 * masked))] = MARK[::-1]
        scorer.add(image, [Face(shape(30), shape(30), appearance)])
    return scorer.score()


def test_a_face_leaks_when_less_than_nine_tenths_of_it_are_masked() -> None:
    score = scored([1, 0.95, 0.85, 0, 1, 0])
    assert (score.face_frames, score.leaked, score.longest_leak) == (6, 3, 2)
    assert score.per_1000 == 500


def test_the_time_to_the_first_mask_counts_from_each_appearance() -> None:
    score = scored([0, 0, 1, 0, 0, 1], appearances=[1, 1, 1, 2, 2, 2])
    assert (score.first_mask, score.first_mask_mean, score.appearances) == (2, 2.0, 2)
    assert scored([1, 0, 1]).first_mask == 0
    assert scored([0, 0, 0]).first_mask == 3


def test_a_leak_ends_with_the_appearance() -> None:
    assert scored([0, 0, 0, 0], appearances=[1, 1, 2, 2]).longest_leak == 2


def test_what_is_masked_without_a_face_is_counted() -> None:
    image = np.full((*SIZE, 3), MARK[::-1], np.uint8)
    scorer = Scorer()
    scorer.add(image, [])
    assert scorer.score().extra == 1.0


def test_pseudo_labels_need_passes_that_agree() -> None:
    boxes = np.array([[10, 10, 30, 34], [50, 10, 60, 22]], np.float32)
    shifts = (0, 1, -1)
    passes = [boxes[:1] + shift for shift in shifts] + [boxes]
    assert agree(passes, at_least=4) == pytest.approx(boxes[:1])
    assert len(agree(passes, at_least=5)) == 0
    assert len(agree(passes, at_least=1)) == 2


def test_every_way_to_mask_a_video_is_scored(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(60, 200, (1, *SIZE, 3), np.uint8).repeat(6, 0)
    for i, image in enumerate(images):
        image[:8, 8 * i :] = 200
    write_clip(tmp_path / "clip.mp4", iter(images))
    face = [Face(shape(30), shape(30))]
    found = Bench(Sighted(), None, tmp_path).run([Clip("x", tmp_path / "clip.mp4", [face] * 6)])
    assert {way: score.leaked for way, score in found["x"].items()}.items() >= {
        "each frame alone": 2,
        "cover": 0,
        "live, lookahead 0": 2,
        "live, lookahead 5": 0,
    }.items()


class Sighted(OneByOne):
    """Finds a face as large as the frame, but not in the first two frames."""

    model = ModelInfo("sighted", "")
    seen = 0

    def submit_one(self, model_input: BgrImage, *, min_score: float) -> Future[Detections]:
        self.seen += 1
        future: Future[Detections] = Future()
        row = [[0, 0, model_input.shape[1], model_input.shape[0], 0.9, *[30.0] * 10]]
        future.set_result(Detections.from_rows(row) if self.seen > 2 else Detections.empty())
        return future

    def close(self) -> None: ...


def test_who_walks_and_turns_is_where_the_truth_says(tmp_path: Path) -> None:
    photograph = np.full((200, 200, 3), (90, 120, 160), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), photograph)
    (tmp_path / "labels.txt").write_text("a.png\n1\n70 60 60 80 face\n")
    (person,) = cut_out(tmp_path, 5)
    for walk in WALKS:
        drawn = list(PasserMaker().frames(walk, person, height=64, fps=5, seed=3))
        counted = [sight.counts for _, sight in drawn]
        assert any(now > before for before, now in pairwise(counted))
        for image, sight in drawn:
            if sight.counts:
                assert _is_skin(image[sight.visible].mean(0))


@pytest.mark.parametrize("name", ["pan", "cuts", "occlusion"])
def test_the_truth_is_where_the_face_was_drawn(name: str) -> None:
    maker = ClipMaker(ROOT / "docs" / "images" / "before.jpg")
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    drawn = list(maker.frames(scenario, count=60, seed=0))
    counted = [truth.counts for _, truth in drawn]
    assert any(counted)
    assert not all(counted)
    for image, truth in drawn:
        assert image.shape == (HEIGHT, WIDTH, 3)
        if truth.counts and truth.height > 30 and truth.visible.sum() > 0.95 * truth.area:
            assert _is_skin(image[truth.visible].mean(0))
            assert not _is_skin(image[~truth.ellipse].mean(0))
    appearances = {face.appearance for faces in faces_of([t for _, t in drawn]) for face in faces}
    assert len(appearances) >= (1 if name == "occlusion" else 2)


def _is_skin(colour: npt.NDArray[np.float64]) -> bool:
    blue, green, red = colour
    return bool(red > green + 25 and green > blue)
