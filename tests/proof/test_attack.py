"""Recognising masked faces: the figures, the faces, and whether the attack can succeed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from faceblur.cli import main
from faceblur.detection import models
from faceblur.detection.detect import detect
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import DetectionSession
from faceblur.detections import Detections
from faceblur.errors import InputError, ModelError
from faceblur.image.pixels import RgbImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.proof.attack import recognition
from faceblur.proof.attack.attack import attack, judge
from faceblur.proof.attack.figures import distances, match, wilson
from faceblur.proof.attack.identities import Identity, collect, distinct
from faceblur.proof.attack.masks import UNMASKED, Disguise, controls, shipped
from faceblur.proof.attack.recognition import DlibRecogniser, Embeddings
from faceblur.proof.attack.report import AttackReport

HEIGHT = 48


class ByColour:
    """A recogniser that goes by the average colour: quick, and easily fooled."""

    name = "average colour"

    def describe(self, crops: Sequence[RgbImage], *, aligned: bool) -> Embeddings:
        return np.stack([crop.mean(axis=(0, 1)) for crop in crops]).astype(np.float32)


def somebody(index: int, height: int = 60) -> Identity:
    """A face of one colour, each its own."""
    colour = np.random.default_rng(index).integers(20, 235, 3)
    photo = np.broadcast_to(colour, (3 * height, 3 * height, 3)).astype(np.uint8)
    box = np.array([height, height, 1.75 * height, 2 * height], np.float64)
    return Identity(f"{index}", np.ascontiguousarray(photo), box)


@pytest.fixture(scope="module")
def detector(official: str) -> Iterator[InProcessDetector]:
    path, model = models.find(official)
    opened = InProcessDetector(path, instances=1, threads=1, model=model)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def dlib() -> DlibRecogniser:
    return DlibRecogniser()


# Figures


def test_vectors_that_are_alike_are_matched_and_equal_ones_are_guessed() -> None:
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 8)).astype(np.float32)
    found = match(distances(gallery + 0.01, gallery))
    assert (found.rank_1.value, found.top_5.value, found.tar.value, found.auc.value) == (1, 1, 1, 1)
    assert not found.rank_1.contains_chance
    equal = match(distances(np.ones((40, 8), np.float32), np.ones((40, 8), np.float32)))
    values = (equal.rank_1.value, equal.top_5.value, equal.tar.value, equal.auc.value)
    assert values == pytest.approx((1 / 40, 5 / 40, 0.01, 0.5))
    assert all(f.contains_chance for f in (equal.rank_1, equal.top_5, equal.tar, equal.auc))


def test_unrelated_vectors_are_at_chance() -> None:
    rng = np.random.default_rng(1)
    probes, gallery = rng.normal(size=(2, 150, 8)).astype(np.float32)
    found = match(distances(probes, gallery))
    assert found.rank_1.contains_chance
    assert found.tar.contains_chance
    assert found.auc.low < 0.5 < found.auc.high


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(1, 60))
def test_an_interval_holds_its_rate(hits: int, count: int) -> None:
    rate = min(hits, count) / count
    figure = wilson(rate, count, chance=0.01)
    assert 0 <= figure.low <= rate + 1e-12
    assert rate - 1e-12 <= figure.high <= 1


def test_the_wilson_interval_is_the_published_one() -> None:
    # Newcombe 1998, table I: 15 of 148.
    figure = wilson(15 / 148, 148, chance=0.01)
    assert (figure.low, figure.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)


# Faces


def face_photos(folder: Path, people: int = 1) -> None:
    portrait = data.astronaut()[:, :, ::-1]
    for index in range(people):
        cv2.imwrite(str(folder / f"{index}.jpg"), np.ascontiguousarray(portrait[:, index:]))


def find(inputs: list[Path], detector: InProcessDetector, **options: Any) -> list[Identity]:
    return collect(inputs, detector, DetectionOptions(threshold=0.5), min_height=40, **options)


def test_a_folder_within_a_folder_is_one_person(
    tmp_path: Path, detector: InProcessDetector
) -> None:
    (tmp_path / "eileen").mkdir()
    face_photos(tmp_path / "eileen", 2)
    assert len(find([tmp_path], detector)) == 1
    assert len(find([tmp_path / "eileen"], detector)) == 2


def test_copies_of_a_photo_count_once(
    tmp_path: Path, detector: InProcessDetector, dlib: DlibRecogniser
) -> None:
    face_photos(tmp_path, 2)
    assert len(distinct(find([tmp_path], detector), dlib, most=5)) == 1


def test_a_image_that_cannot_be_read_is_left_out(
    tmp_path: Path, detector: InProcessDetector
) -> None:
    face_photos(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert len(find([tmp_path], detector)) == 1


def test_a_rendition_differs_and_can_be_repeated(
    tmp_path: Path, detector: InProcessDetector
) -> None:
    face_photos(tmp_path)
    (person,) = find([tmp_path], detector)
    crop = person.crop(HEIGHT)
    first, second = (person.rendition(HEIGHT, np.random.default_rng(3)) for _ in range(2))
    assert first.shape == crop.shape == (HEIGHT, 36, 3)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first.astype(int) - crop).mean() > 4


def test_inputs_without_faces_are_refused(tmp_path: Path, detector: InProcessDetector) -> None:
    with pytest.raises(InputError, match="does not exist"):
        find([tmp_path / "nobody"], detector)
    cv2.imwrite(str(tmp_path / "plain.png"), np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(InputError, match="no face of 40 px"):
        find([tmp_path], detector)


# The attack


def test_people_who_are_masked_alike_cannot_be_told_apart() -> None:
    people = [somebody(index) for index in range(30)]
    trials = attack(
        people,
        ByColour(),
        [*controls(), *shipped(MaskStyle(), ["veil", "solid", "image"])],
        heights=[HEIGHT],
    )
    by_name = {trial.mask: trial for trial in trials}
    assert by_name[UNMASKED].clear.rank_1.value > 0.5
    for mode in ("veil", "solid", "image"):
        assert by_name[mode].clear.rank_1.value == pytest.approx(1 / 30)
        assert by_name[mode].masked.rank_1.value == pytest.approx(1 / 30)
    assert judge(trials).passed


def leaky(crop: RgbImage) -> RgbImage:
    """A mask that lets the average colour through."""
    return np.broadcast_to(crop.mean(axis=(0, 1)), crop.shape).astype(np.uint8)


def test_a_shipped_mask_that_leaks_is_noticed() -> None:
    people = [somebody(index) for index in range(30)]
    broken = Disguise("veil", "shipped", leaky)
    trials = attack(
        people,
        ByColour(),
        [*controls(), broken, *shipped(MaskStyle(), ["solid"])],
        heights=[HEIGHT],
    )
    verdict = judge(trials)
    assert verdict.conclusive
    assert not verdict.passed
    from_clear, from_masked = verdict.failures
    assert "from clear images" in from_clear
    assert "from masked images" in from_masked


def test_an_attack_that_recognises_nobody_proves_nothing() -> None:
    people = [somebody(1) for _ in range(30)]
    trials = attack(
        people,
        ByColour(),
        [*controls(), *shipped(MaskStyle(), ["veil", "solid"])],
        heights=[HEIGHT],
    )
    verdict = judge(trials)
    assert not verdict.failures
    assert not verdict.passed
    assert "Inconclusive" in AttackReport("r", "d", trials, verdict).summary()


def test_too_few_people_are_refused() -> None:
    with pytest.raises(InputError, match="9 different faces of 48 px or more are not enough"):
        attack([somebody(i) for i in range(9)], ByColour(), controls(), heights=[HEIGHT])


def test_without_dlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install -e .*\[attack\]"):
        DlibRecogniser()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["ellipse", "box"]), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_the_default_mask_reads_no_pixel_of_the_face(shape: str, expand: float, seed: int) -> None:
    style = MaskStyle(shape=shape, expand=expand)
    first, second = np.random.default_rng(seed).integers(0, 256, (2, 80, 80, 3), np.uint8)
    covered = first.copy()
    rows = np.zeros((1, 15), np.float32)
    rows[0, :4] = (20, 25, 55, 65)
    for image in (covered, second):
        Masker(style).apply(ArraySurface(image), Detections.from_rows(rows))
    # Wherever the mask has changed anything, it is the same mask on both.
    changed = (covered != first).any(axis=2)
    assert changed[25:65, 20:55].mean() > 0.75
    np.testing.assert_array_equal(covered[changed], second[changed])


def found_again(portrait: RgbImage, detector: InProcessDetector, **style: Any) -> list[int]:
    """Of faces of several heights, those that are still taken for a face when masked."""
    again = []
    for height in (16, 24, 40, 64, 100, 150):
        image = cv2.resize(portrait, None, fx=height / 150, fy=height / 150)
        faces = detect(detector, image, DetectionOptions(threshold=0.3))
        Masker(MaskStyle(**style)).apply(ArraySurface(image), faces)
        if len(faces) and len(detect(detector, image, DetectionOptions(threshold=0.2))):
            again.append(height)
    return again


def test_the_default_mask_is_not_taken_for_a_face(
    portrait: RgbImage, detector: InProcessDetector
) -> None:
    assert found_again(portrait, detector) == []
    face = np.ascontiguousarray(portrait[64:214, 172:292])
    assert len(found_again(portrait, detector, mode="image", image=face)) >= 2


# The command, with a real recogniser


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["attack", *arguments])


def test_the_command_recognises_weakly_blurred_faces_and_no_masked_ones(
    shared: Path, session: DetectionSession, tmp_path: Path
) -> None:
    assert session.server is not None
    report = tmp_path / "attack.json"
    photos = sorted((shared / "data" / "eval" / "masks" / "images").iterdir())
    result = run(
        *map(str, photos[:40]),
        *("--server", session.server.address, "--people", "10", "--sizes", "64"),
        *("--json", str(report)),
    )
    assert result.exit_code == 0, result.output
    assert "| weak Gaussian blur | 64 px | 10 |" in result.output
    trials = {trial["mask"]: trial for trial in json.loads(report.read_text())["trials"]}
    assert set(trials) == {"unmasked", "weak Gaussian blur", "veil", "solid"}
    assert trials["unmasked"]["clear"]["rank_1"]["value"] >= 0.8
    assert trials["weak Gaussian blur"]["masked"]["rank_1"]["low"] > 0.1
    for mode in ("veil", "solid"):
        for gallery in ("clear", "masked"):
            assert trials[mode][gallery]["rank_1"]["value"] == pytest.approx(0.1)


@pytest.mark.parametrize("sizes", ["", "a,b", "8", "48,9999"])
def test_sizes_that_make_no_sense_are_refused(sizes: str, tmp_path: Path) -> None:
    result = run(str(tmp_path), "--sizes", sizes)
    assert result.exit_code == 3
    assert "such as 24,48,96" in result.output
