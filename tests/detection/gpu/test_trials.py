"""What a GPU is measured by in another process, and what is made of the answer."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from stand_ins import ANSWER, CPU, FAST, GPUS, warnings

from faceblur import gpus
from faceblur.cli import main
from faceblur.detection import runtimes
from faceblur.detection.gpu import probe, trial, use
from faceblur.gpus import Gpu


def test_a_trial_in_another_process_says_what_ran_and_how_fast(
    gpu: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(use, "PROVIDERS", {"cuda": CPU})
    choice = runtimes.choose(FAST)
    assert choice.runtime == "cuda"
    assert choice.where == "CUDA in FP32 on Test GPU"
    assert choice.use is not None
    assert choice.use.batch in probe.BATCHES
    assert choice.use.instances >= 2
    # What was measured is remembered: the next start waits for nothing.
    monkeypatch.setattr(trial.subprocess, "Popen", None)
    assert runtimes.choose(FAST) == choice
    use.forget(choice.use)
    assert use._remembered(use._record_path(FAST, GPUS[:1], "cuda", "fp32")) is None
    # Another driver is another measurement.
    other = [replace(gpu, driver="590") for gpu in GPUS]
    assert use._record_path(FAST, GPUS, "cuda", "fp32") != use._record_path(
        FAST, tuple(other), "cuda", "fp32"
    )
    assert not warnings(caplog)


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("", "the process that tried it died"),
        ("warning\nCUDA error 999\n", "CUDA error 999"),
        (
            "Failed to load a.so with error: libcublas.so.13: cannot open shared object file: No\n"
            "CPU would run",
            "libcublas.so.13: cannot open shared object file; run: pip install",
        ),
        (
            "x with error: libcuda.so.1: cannot open shared object file: No\nCPU would run",
            "libcuda.so.1: cannot open shared object file; install NVIDIA's driver",
        ),
    ],
)
def test_a_failed_trial_is_told_in_one_sentence(stderr: str, reason: str) -> None:
    assert trial._reason(stderr).startswith(reason)


@pytest.mark.parametrize(("runtime", "level"), [("tensorrt", "WARNING"), ("cuda", "INFO")])
def test_a_long_trial_says_for_how_long_and_ends(
    gpu: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    runtime: use.GpuRuntime,
    level: str,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(trial, "_TELLS_S", 0.1)
    python, told = tmp_path / "python", tmp_path / "told"
    # It answers when it has been said that it is still at work.
    answer = json.dumps(asdict(ANSWER))
    python.write_text(f"#!/bin/sh\nuntil [ -e {told} ]; do sleep 0.05; done\necho '{answer}'\n")
    said = trial.logger.log

    def tell(level: int, text: str, *arguments: object) -> None:
        said(level, text, *arguments)
        told.touch()

    monkeypatch.setattr(trial.logger, "log", tell)
    python.chmod(0o700)
    monkeypatch.setattr(use, "PROVIDERS", {runtime: CPU})
    monkeypatch.setattr(use.sys, "executable", str(python))
    assert use.find_use(FAST, GPUS[:1], [runtime], cores=2).batch == ANSWER.batch
    first, *others = [r for r in caplog.records if r.name.startswith(use.logger.name[:-4])]
    assert others
    assert first.getMessage().endswith(", once")
    for each in others:
        assert re.fullmatch(r".* fast on Test GPU.*: \d+ s so far", each.getMessage())
    assert {each.levelname for each in (first, *others)} == {level}


def test_a_trial_hands_on_long_texts_and_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "_TELLS_S", 0.1)
    # More than a pipe holds, with times in between at which nothing comes.
    slow = (
        "import sys, time; time.sleep(0.3); text = sys.stdin.read(); time.sleep(0.3); print(text)"
    )
    how: Any = {"what": "a test", "level": logging.INFO}
    question = "?" * 200_000
    answer = trial.answer_of([sys.executable, "-c", slow], question, timeout_s=60, **how)
    assert answer.strip() == question
    start = time.monotonic()
    with pytest.raises(trial.GpuUnusableError, match=r"did not answer in 0\.3 s"):
        trial.answer_of(["sleep", "60"], "", timeout_s=0.3, **how)
    assert time.monotonic() - start < 30
    with pytest.raises(trial.GpuUnusableError, match=r"cannot be tried: .*nowhere"):
        trial.answer_of(["/nowhere"], "", timeout_s=60, **how)


@pytest.mark.parametrize("numbers", ["first", "0,0", "-1", ""])
def test_gpus_are_named_by_numbers(numbers: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--gpu", numbers])
    assert result.exit_code == 3
    assert "give numbers of GPUs, such as 0 or 0,1" in str(result.stderr)


def test_memory_of_a_gpu_is_bounded(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use, "_tried", lambda *_: replace(ANSWER, instances=8))
    for gib, instances, each in ((80, 8, 4), (24, 4, 3), (16, 2, 4), (4, 2, 1)):
        gpu = replace(GPUS[0], memory_bytes=gib << 30)
        found = use.find_use(FAST, [gpu], ["cuda"], cores=8)
        assert (found.instances, found.memory_bytes >> 30) == (instances, each)


def test_a_measurement_says_batch_and_instances() -> None:
    assert probe.chosen_batch({1: 300.0, 2: 500.0, 4: 560.0, 8: 600.0}) == 4
    assert probe.chosen_batch({1: 600.0, 2: 500.0}) == 1
    assert probe.chosen_fill({1: 277.0, 8: 1672.0}, 8) == 2
    assert probe.chosen_fill({1: 300.0, 8: 600.0}, 8) == 4
    assert probe.chosen_fill({1: 300.0}, 1) == 2
    # One decodes while three others compute; no more than cores, and two at least.
    assert probe.chosen_instances(0.0005, 0.0015, 16) == 4
    assert probe.chosen_instances(0.0005, 0.0015, 3) == 3
    assert probe.chosen_instances(0.01, 0.0001, 1) == 2


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, "AB"), ("1", "B"), ("1,0", "BA"), ("", ""), ("-1", ""), ("0,7,1", "A"), ("GPU-b", "B")],
)
def test_gpus_are_those_that_cuda_shows(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, names: str
) -> None:
    pairs = [(f"GPU-{name.lower()}", Gpu(i, name, "580", 1)) for i, name in enumerate("AB")]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = list(gpus._visible(pairs))
    assert "".join(gpu.name for gpu in found) == names
    assert [gpu.index for gpu in found] == list(range(len(found)))
