"""Which images a run trains on, and which it is judged by."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from faceblur_training.data.holdout import is_held_out
from faceblur_training.data.pack import FACE_WIDTH, Entry
from faceblur_training.data.sampling import FEWEST_HELD_OUT, split


def entries(count: int, *, labelled: bool, faces: int = 1) -> list[Entry]:
    rows = np.ones((faces, FACE_WIDTH), np.float32)
    return [Entry(f"{labelled}/{n}.jpg", 64, 64, labelled, rows) for n in range(count)]


def test_one_image_in_twenty_is_held_out_by_its_name() -> None:
    items = entries(1000, labelled=True)
    made = split(items, taught=False)
    assert made.validated.tolist() == [is_held_out(PurePath(e.name)) for e in items]
    assert (made.trained == ~made.validated).all()
    assert 30 < made.validated.sum() < 70


def test_few_images_are_both_trained_on_and_judged_by() -> None:
    made = split(entries(FEWEST_HELD_OUT, labelled=True), taught=False)
    assert made.trained.all()
    assert made.validated.all()


def test_images_that_nobody_looked_at_do_not_judge() -> None:
    """A detection in them may well be right."""
    items = entries(500, labelled=True) + entries(500, labelled=False, faces=0)
    for taught in (False, True):
        made = split(items, taught=taught)
        assert made.validated[:500].any()
        assert not made.validated[500:].any()
        assert made.trained[500:].all() == taught


def test_what_a_teacher_labelled_judges_too() -> None:
    items = entries(500, labelled=True) + entries(500, labelled=False)
    assert split(items, taught=True).validated[500:].any()
    assert not split(items, taught=False).validated[500:].any()
