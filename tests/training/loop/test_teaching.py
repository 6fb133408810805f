"""What a teacher gives: merged detections, labels for other images, and hints between stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from faceblur_export.data.image_files import open_image
from faceblur_export.evaluation.inference import open_detector
from faceblur_export.network import build
from faceblur_training.data.pack import Entry
from faceblur_training.loop import teacher_labels
from faceblur_training.loop.distillation import Hints, stage_ends
from faceblur_training.loop.teacher_labels import VIEWS, View, combine, label, merge


def row(x: float, score: float, *, size: float = 20) -> list[float]:
    return [x, 0, x + size, size, score, *range(10)]


def rows(*values: list[float]) -> np.ndarray:
    return np.asarray(values, np.float32).reshape(-1, 15)


def test_looks_at_one_face_become_one() -> None:
    merged = merge([rows(row(0, 0.9)), rows(row(2, 0.3))], least=0.1, overlap=0.5)
    assert len(merged) == 1
    # A quarter of the weight pulls it a quarter of the way.
    assert merged[0, 0] == pytest.approx(0.5, abs=0.01)
    assert merged[0, 4] == pytest.approx(0.9)


def test_a_chance_hit_in_one_of_four_looks_counts_half() -> None:
    passes = [rows(row(0, 0.8)), *[rows()] * 3]
    assert merge(passes, least=0.3, overlap=0.5)[0, 4] == pytest.approx(0.4)
    assert len(merge(passes, least=0.5, overlap=0.5)) == 0


def test_faces_apart_stay_apart() -> None:
    merged = merge([rows(row(0, 0.9), row(30, 0.8))], least=0.1, overlap=0.5)
    assert merged[:, 0].tolist() == [0, 30]


def test_human_labels_rule() -> None:
    human = rows([0, 0, 20, 20, 1, *[np.nan] * 10])
    seen = rows(row(1, 0.9), row(60, 0.9))
    labelled = combine(Entry("a", 99, 99, True, human), seen)
    np.testing.assert_array_equal(labelled[:, :5], human[:, :5])
    np.testing.assert_array_equal(labelled[0, 5:], np.arange(10))
    unknown = combine(Entry("a", 99, 99, False, rows()), seen)
    np.testing.assert_array_equal(unknown, seen)


def test_official_teacher_finds_faces_in_every_look(shared) -> None:
    image = open_image(shared / "golden" / "masks.png")
    height, width = image.shape[:2]
    entry = Entry("a", width, height, False, rows())
    one, mirrored = (View(320), View(320, mirrored=True))
    with open_detector(str(shared / "weights" / "yolov5n-0.5-face.pt")) as teacher:
        found = label(teacher, entry, image, [one])
        both = label(teacher, entry, image, [one, mirrored])
        flipped = label(teacher, entry, np.ascontiguousarray(image[:, ::-1]), [one, mirrored])
        known = Entry("a", width, height, True, np.zeros((2, 15), np.float32))
        assert label(teacher, known, image) is known.faces
    assert 0.5 < len(both) / len(found) < 2
    # The passes over an image and over its mirror are the same two.
    centres = np.sort((both[:, 0] + both[:, 2]) / 2)
    np.testing.assert_allclose(
        centres, np.sort(width - (flipped[:, 0] + flipped[:, 2]) / 2), atol=1.5
    )
    # Eyes are above mouths, left is left: landmarks were unmirrored too.
    marks = both[:, 5:].reshape(-1, 5, 2)
    assert np.median(marks[:, 0, 0] - marks[:, 1, 0]) < 0
    assert np.median(marks[:, 0, 1] - marks[:, 3, 1]) < 0


def test_a_look_that_comes_twice_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A face that only the enlarged pass sees: half of its score, or all of it."""
    seen: list[View] = []

    def faces(_teacher: object, _image: object, view: View) -> np.ndarray:
        seen.append(view)
        return rows(row(0, 0.8)) if view.side == 1152 else rows()

    monkeypatch.setattr(teacher_labels, "_faces", faces)
    image = np.zeros((400, 400, 3), np.uint8)
    entry = Entry("a", 400, 400, False, rows())
    assert label(None, entry, image)[0, 4] == pytest.approx(0.8)
    assert label(None, entry, image, VIEWS[:3] + VIEWS[:1])[0, 4] == pytest.approx(0.4)
    assert len(seen) == 6
    label(None, entry, image[:200, :200])
    assert {view.side for view in seen[6:]} == {448}


def student_and_teacher():
    torch.manual_seed(0)
    student, teacher = build("yolov5n-0.5"), build("yolov5n-0.5")
    return student.train(), teacher.eval()


def test_a_student_equal_to_its_teacher_gets_no_hint() -> None:
    student, _ = student_and_teacher()
    student.eval()
    hints = Hints(student, student, stage_ends(student))
    pixels = torch.rand(2, 3, 64, 64)
    hints.look(pixels)
    student(pixels)
    assert hints.collect().item() < 1e-6


def test_hints_reach_every_stage_and_never_the_teacher() -> None:
    student, teacher = student_and_teacher()
    hints = Hints(student, teacher, stage_ends(student))
    before = {k: v.clone() for k, v in hints.teacher.state_dict().items()}
    pixels = torch.rand(2, 3, 64, 64)
    hints.look(pixels)
    student(pixels)
    hints.collect().backward()
    trained = {n.split(".")[1] for n, p in student.named_parameters() if p.grad is not None}
    # Layers after the last hint are the head's business.
    assert {str(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 10, 11)} <= trained
    assert all(torch.equal(before[k], v) for k, v in hints.teacher.state_dict().items())
    assert hints.collect() is None


def test_forced_stages_start_from_the_teachers_maps() -> None:
    student, teacher = student_and_teacher()
    hints = Hints(student, teacher, stage_ends(student))
    hints.forced = True
    pixels = torch.rand(2, 3, 64, 64)
    hints.look(pixels)
    student(pixels)
    hints.collect()
    hints.look(pixels)
    sum(m.sum() for m in student(pixels)).backward()
    # The head's loss stops at the last hint: earlier stages see the teacher's maps, not their own.
    assert student.model[0].stem_1.conv.weight.grad is None
    assert student.model[14].cv1.conv.weight.grad is not None


def test_another_variant_gets_no_hints() -> None:
    student, _ = student_and_teacher()
    hints = Hints(student, build("yolov5n").eval(), stage_ends(student))
    pixels = torch.rand(1, 3, 64, 64)
    assert [m.shape for m in hints.look(pixels)] == [m.shape for m in student(pixels)]
    assert hints.collect() is None
