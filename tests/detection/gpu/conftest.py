"""A machine with GPUs, as far as it seems."""

from __future__ import annotations

from pathlib import Path

import pytest
from stand_ins import ANSWER, CPU, GPUS

from faceblur.detection import runtimes
from faceblur.detection.gpu import use


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs and the build of ONNX Runtime for them, as far as it seems."""
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(runtimes.VARIABLE)
    monkeypatch.setattr(runtimes, "find_gpus", lambda: GPUS)
    monkeypatch.setattr(runtimes, "_said", set())
    monkeypatch.setattr(use, "_active_build", lambda: "onnxruntime-gpu")


@pytest.fixture
def stand_in(gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU's provider in place of CUDA's, measured before."""
    monkeypatch.setattr(use, "PROVIDERS", {"cuda": CPU})
    monkeypatch.setattr(use, "_tried", lambda *_: ANSWER)
