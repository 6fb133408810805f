"""Batches are the same whichever process renders them, and whenever."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import signal

import numpy as np
import pytest
import torch

from faceblur_training.loop.batches import Batch, Batches
from faceblur_training.loop.recipe import settings_for

SETTINGS = dataclasses.replace(settings_for("yolov5n-0.5", steps=6), batch=4, sides=(64, 96))


@pytest.fixture
def pack(make_pack):
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 255, (80, 100, 3), np.uint8) for _ in range(5)]
    return make_pack(images, [[[10.0, 10.0, 50.0, 60.0]]] * 5)


def assert_same(first: Batch, second: Batch) -> None:
    for name in ("pixels", "faces", "images", "known"):
        a, b = getattr(first, name), getattr(second, name)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def test_slices_are_parts_of_the_whole(pack) -> None:
    whole = Batches(pack, np.ones(5), SETTINGS).get(3)
    halves = Batches(pack, np.ones(5), SETTINGS, slices=2)
    parts = [halves.get(3, index) for index in range(2)]
    assert torch.equal(torch.cat([p.pixels for p in parts]), whole.pixels)
    assert sum(len(p.faces) for p in parts) == len(whole.faces)


def test_other_processes_render_the_same_batches(pack) -> None:
    batches = Batches(pack, np.ones(5), SETTINGS)
    coming = list(batches.ahead(2, workers=2))
    assert len(coming) == 4
    for step, batch in enumerate(coming, 2):
        assert_same(batch, batches.get(step))


def test_signals_to_all_processes_do_not_end_the_workers(pack) -> None:
    """As Ctrl-C in a terminal sends, and a service manager: the run saves first."""
    coming = Batches(pack, np.ones(5), SETTINGS).ahead(0, workers=1)
    next(coming)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(list(coming)) == SETTINGS.schedule.steps - 1


def test_packs_travel_as_their_folder(pack) -> None:
    assert len(pickle.dumps(pack)) < 1000
    again = pickle.loads(pickle.dumps(pack))
    np.testing.assert_array_equal(again.image(2), pack.image(2))


def test_a_teacher_sees_through_the_damage(pack) -> None:
    config = dataclasses.replace(SETTINGS.augment, noise=1.0)
    settings = dataclasses.replace(SETTINGS, augment=config, undamaged_teacher=True)
    damaged = Batches(pack, np.ones(5), settings).get(0)
    nothing = {n: 0.0 for n in ("colour", "low_light", "noise", "blur", "shrink", "jpeg")}
    clean = dataclasses.replace(settings, augment=dataclasses.replace(config, **nothing))
    # The same places: only the pixels differ, by the noise at least.
    assert torch.equal(damaged.undamaged, Batches(pack, np.ones(5), clean).get(0).undamaged)
    assert (damaged.pixels.float() - damaged.undamaged.float()).std() > 2
    assert Batches(pack, np.ones(5), SETTINGS).get(0).undamaged is None
    assert settings_for("yolov5n-0.5", steps=6, taught=True).undamaged_teacher


def test_weights_decide_which_images_come(pack) -> None:
    only_third = Batches(pack, np.asarray([0, 0, 1, 0, 0]), SETTINGS)
    other = Batches(pack, np.asarray([0, 0, 0, 1, 0]), SETTINGS)
    assert (only_third.get(0).pixels != other.get(0).pixels).any()


def test_sizes_vary_from_step_to_step(pack) -> None:
    batches = Batches(pack, np.ones(5), SETTINGS)
    assert {batches.get(step).pixels.shape[1] for step in range(12)} == {64, 96}
