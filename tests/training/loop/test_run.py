"""Runs: they learn, they resume bit for bit, they keep the last good checkpoint."""

from __future__ import annotations

import csv
import dataclasses
import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from faceblur import files as atomic
from faceblur.errors import InputError, ModelError, OutputError
from faceblur_export.data.formats import read_folder
from faceblur_export.network import build
from faceblur_export.weights.checkpoint import load_model
from faceblur_training.augmentation.config import AugmentConfig
from faceblur_training.data.pack import write
from faceblur_training.loop import checkpointing
from faceblur_training.loop.history import History
from faceblur_training.loop.progress import Progress
from faceblur_training.loop.recipe import settings_for
from faceblur_training.loop.run import TrainingRun, prolonged
from faceblur_training.loop.run_plan import RunPlan
from faceblur_training.loop.schedule import ENDLESS, Schedule
from faceblur_training.loop.settings import Settings

TINY = dataclasses.replace(
    settings_for("yolov5n-0.5", steps=4), batch=4, sides=(64, 96), average=0.9, validate_at=64
)


@pytest.fixture
def plan(labelled_folder: Path, tmp_path: Path) -> RunPlan:
    write(tmp_path / "pack", read_folder(labelled_folder)[:5], root=labelled_folder)
    return RunPlan(TINY, tmp_path / "pack", save_every=2)


def run(folder: Path, plan: RunPlan, *, until: int | None = None, resume: bool = False):
    training = TrainingRun(folder, plan, resume=folder / "last.pt" if resume else None)
    try:
        return training.train(until=until)
    finally:
        training.close()


def test_twenty_images_are_learned_by_heart(labelled_folder: Path, tmp_path: Path) -> None:
    """Labels alone, from fresh weights: the losses together must lead to the faces."""
    write(tmp_path / "pack", read_folder(labelled_folder), root=labelled_folder)
    settings = Settings(
        "yolov5n-0.5",
        Schedule(4e-3, 200, warmup=10, shape="cosine"),
        augment=AugmentConfig.none(128),
        batch=10,
        sides=(128,),
        average=0.8,
        momentum=0.2,
        validate_at=128,
    )
    plan = RunPlan(settings, tmp_path / "pack", validate_every=0)
    assert run(tmp_path / "run", plan).ap50 > 0.95


@pytest.mark.parametrize("teacher", [False, True])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(
    plan: RunPlan, tmp_path: Path, teacher: bool
) -> None:
    if teacher:
        torch.manual_seed(9)
        path = tmp_path / "teacher.pt"
        checkpointing.save(
            path, variant="yolov5n-0.5", model=build("yolov5n-0.5").state_dict(), training={}
        )
        settings = dataclasses.replace(plan.settings, forced_steps=2)
        plan = dataclasses.replace(plan, teacher=path, settings=settings)
    run(tmp_path / "whole", plan)
    run(tmp_path / "broken", plan, until=2)
    # Done twice, as after a kill between two checkpoints.
    run(tmp_path / "broken", plan, until=3, resume=True)
    run(tmp_path / "broken", plan, resume=True)
    whole, broken = (checkpointing.load(tmp_path / n / "last.pt") for n in ("whole", "broken"))
    assert_equal(whole, broken)
    with (tmp_path / "broken" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert rows[-1]["samples"] == "16"


def test_four_levels_train_too(plan: RunPlan, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        plan.settings, variant="yolov5n6", sides=(64,), schedule=Schedule(1e-3, 1, warmup=1)
    )
    result = run(tmp_path / "run", dataclasses.replace(plan, settings=settings))
    assert result.step == 1
    assert load_model(tmp_path / "run" / "last.pt")[1] == "yolov5n6"


def test_forgetting_the_optimiser_would_be_caught(plan: RunPlan, tmp_path: Path) -> None:
    run(tmp_path / "whole", plan)
    run(tmp_path / "broken", plan, until=2)
    last = tmp_path / "broken" / "last.pt"
    content = checkpointing.load(last)
    content["training"]["optimizer"]["state"] = {}
    torch.save(content, last)
    run(tmp_path / "broken", plan, resume=True)
    whole, broken = (checkpointing.load(tmp_path / n / "last.pt") for n in ("whole", "broken"))
    with pytest.raises(AssertionError):
        assert_equal(whole, broken)


def assert_equal(first, second) -> None:
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


def test_checkpoints_open_as_models_and_start_other_runs(plan: RunPlan, tmp_path: Path) -> None:
    run(tmp_path / "first", plan)
    model, variant = load_model(tmp_path / "first" / "last.pt")
    assert variant == "yolov5n-0.5"
    second = dataclasses.replace(plan, weights=tmp_path / "first" / "best.pt")
    training = TrainingRun(tmp_path / "second", second)
    training.close()
    for a, b in zip(model.parameters(), training.trainer.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_full_disk_keeps_the_last_good_checkpoint(
    plan: RunPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "run", plan, until=3)
    good = (tmp_path / "run" / "last.pt").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    training = TrainingRun(tmp_path / "run", plan, resume=tmp_path / "run" / "last.pt")
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match=r"disk is full.*before it is kept.*resume"):
        training.train()
    training.close()
    assert (tmp_path / "run" / "last.pt").read_bytes() == good
    assert not list((tmp_path / "run").glob(".*"))
    monkeypatch.undo()
    assert run(tmp_path / "run", plan, resume=True).step == 4


def test_a_disk_that_is_full_from_the_start_promises_no_resume(
    plan: RunPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TrainingRun(tmp_path / "run", plan)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError, match=r"disk is full: free some space or write elsewhere$"):
        training.train(until=1)
    training.close()
    assert not list((tmp_path / "run").glob("*.pt"))


def test_checkpoints_of_another_kind_are_named(plan: RunPlan, tmp_path: Path) -> None:
    other = tmp_path / "n.pt"
    checkpointing.save(other, variant="yolov5n", model=build("yolov5n").state_dict(), training={})
    with pytest.raises(ModelError, match=r"holds a yolov5n and not a yolov5n-0\.5"):
        TrainingRun(tmp_path / "a", dataclasses.replace(plan, weights=other))
    with pytest.raises(ModelError, match=r"holds a yolov5n and not a yolov5n-0\.5"):
        TrainingRun(tmp_path / "b", plan, resume=other)
    with pytest.raises(ModelError, match="there is no checkpoint"):
        TrainingRun(tmp_path / "c", plan, resume=tmp_path / "gone.pt")
    bare = tmp_path / "bare.pt"
    weights = build("yolov5n-0.5").state_dict()
    checkpointing.save(bare, variant="yolov5n-0.5", model=weights, training={})
    with pytest.raises(ModelError, match="holds weights only"):
        TrainingRun(tmp_path / "e", plan, resume=bare)
    other.write_bytes(other.read_bytes()[:5000])
    with pytest.raises(ModelError, match="may be cut short"):
        TrainingRun(tmp_path / "d", plan, resume=other)


def test_images_nobody_labelled_need_a_teacher(labelled_folder: Path, tmp_path: Path) -> None:
    (labelled_folder / "labels.txt").unlink()
    write(tmp_path / "pack", read_folder(labelled_folder), root=labelled_folder)
    with pytest.raises(InputError, match="give --teacher"):
        TrainingRun(tmp_path / "run", RunPlan(TINY, tmp_path / "pack"))


def test_sizes_that_do_not_suit_the_network_are_named(plan: RunPlan, tmp_path: Path) -> None:
    odd = dataclasses.replace(plan, settings=dataclasses.replace(TINY, sides=(100,)))
    with pytest.raises(InputError, match="multiples of 32"):
        TrainingRun(tmp_path / "run", odd)


def test_a_loss_that_is_no_number_stops_the_run(plan: RunPlan, tmp_path: Path) -> None:
    training = TrainingRun(tmp_path / "run", plan)
    with torch.no_grad():
        next(training.trainer.model.parameters()).fill_(np.nan)
    with pytest.raises(ModelError, match=r"no number any more at step 1; start again with --set"):
        training.train()
    training.close()


def test_an_endless_gradient_stops_the_run_before_it_is_saved(
    plan: RunPlan, tmp_path: Path
) -> None:
    run(tmp_path / "run", plan, until=1)
    good = (tmp_path / "run" / "last.pt").read_bytes()
    training = TrainingRun(tmp_path / "run", plan, resume=tmp_path / "run" / "last.pt")
    next(training.trainer.model.parameters()).register_hook(lambda g: g * np.inf)
    for replica in training.trainer._replicas.models:
        next(replica.parameters()).register_hook(lambda g: g * np.inf)
    with pytest.raises(ModelError, match=r"kept: resume .*run with --set schedule\.rate=0\.001"):
        training.train(until=2)
    training.close()
    assert (tmp_path / "run" / "last.pt").read_bytes() == good


def test_a_teacher_with_other_anchors_is_named(plan: RunPlan, tmp_path: Path) -> None:
    other = tmp_path / "n6.pt"
    checkpointing.save(other, variant="yolov5n6", model=build("yolov5n6").state_dict(), training={})
    with pytest.raises(ModelError, match="holds a yolov5n6, whose anchors are not those"):
        TrainingRun(tmp_path / "run", dataclasses.replace(plan, teacher=other))


def test_small_sets_are_judged_by_what_they_train_on_and_say_so(
    plan: RunPlan, tmp_path: Path
) -> None:
    said: list[str] = []
    TrainingRun(tmp_path / "run", plan, say=said.append).close()
    assert "too few images to hold 10 of them out" in said[0]


def test_plans_come_back_from_their_folder(plan: RunPlan, tmp_path: Path) -> None:
    plan.write(tmp_path)
    assert RunPlan.read(tmp_path) == plan
    longer = prolonged(plan, steps=99, decay=20)
    assert longer.settings.schedule.at(98) < plan.settings.schedule.rate
    with pytest.raises(InputError, match="longer than"):
        prolonged(plan, steps=5, decay=9)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be used"):
        RunPlan.read(tmp_path)
    with pytest.raises(InputError, match="holds no training run"):
        RunPlan.read(tmp_path / "nowhere")


def test_metrics_are_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    history = History(tmp_path, step=0)
    for step in (10, 20, 30):
        history.add({"step": step, "samples": step * 4, "seconds": 1.5, "loss": 2, "ap50": 0.5})
    with history.path.open("a") as file:
        file.write("40,1")
    again = History(tmp_path, step=20)
    assert [row["step"] for row in again.rows] == ["10", "20"]
    assert again.best == 0.5
    assert again.plot().read_bytes().startswith(b"\x89PNG")


def test_metrics_of_an_older_version_go_on(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,samples,seconds,loss,ap50\n10,40,1.5,2,0.5\n")
    history = History(tmp_path, step=10)
    history.add({"step": 20, "samples": 80, "loading": 0.25})
    assert history.path.read_text().splitlines()[1:] == [
        "10,40,1.5,,,2,,,,,,,0.5,",
        "20,80,,,,,,,,,,,,0.25",
    ]
    assert history.plot().read_bytes().startswith(b"\x89PNG")


def test_progress_tells_the_time_left() -> None:
    now = 0.0
    progress = Progress(1000, 16, done=100, every_s=10, clock=lambda: now)
    assert not progress.is_due(101)
    now = 20.0
    line = progress.line(200, 1.25, loading_s=3)
    # 100 steps in 20 s: 5 a second; 800 more take 160 s.
    assert line == "step 200/1000 · 80.0 samples/s · loss 1.250 · 15% loading · 2 min 40 s left"
    assert not progress.is_due(201)
    assert progress.is_due(1000)
    progress = Progress(ENDLESS, 16, ends_s=60, clock=lambda: now)
    now = 50.0
    line = progress.line(200, 1.25, loading_s=3)
    assert line == "step 200 · 106.7 samples/s · loss 1.250 · 10% loading · 0 min 30 s left"
