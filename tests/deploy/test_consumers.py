"""Every queue has as many consumers as keep Triton from stalling; see docs/triton-stall.md."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf import text_format
from resolved_compose import SERVERS, command_of, resolve, tritons
from tritonclient.grpc import model_config_pb2

from benchmarks.analyzer import server as analyzer_server
from faceblur.cli import main
from faceblur.detection.detector import ModelInfo
from faceblur.detection.repository import model_repository, shipped_onnx
from faceblur.detection.triton.runtime import stage_repository
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import InputError
from faceblur_export.repository import fill_repository

REPOSITORY = model_repository()
BLOCKING = "--backend-config=tensorrt,execution-policy=BLOCKING"
MODEL = ModelInfo("bundled", "0" * 64)


def consumers(config: Any, words: Sequence[str]) -> int:
    """Threads that take batches from the queue of a model, on one GPU or the CPU.

    Args:
        config: The model's configuration.
        words: The command that starts Triton.
    """
    count = sum(group.count for group in config.instance_group)
    # By default TensorRT's backend runs all instances on a GPU in one thread.
    return count if config.backend != "tensorrt" or BLOCKING in words else min(1, count)


def wanted_of(config: Any) -> int:
    """Three where images follow each other within milliseconds, else two."""
    return 3 if config.backend in ("onnxruntime", "tensorrt") else 2


def configurations(folder: Path) -> dict[str, Any]:
    """Every configuration of a model, not of an ensemble, below a folder."""
    paths = sorted(path for path in folder.rglob("*.pbtxt") if not path.is_symlink())
    parsed = {
        str(path.relative_to(folder)): text_format.Parse(
            path.read_text(), model_config_pb2.ModelConfig()
        )
        for path in paths
    }
    return {name: each for name, each in parsed.items() if each.platform != "ensemble"}


def stalling(
    folder: Path, words: Sequence[str] = (BLOCKING,), *, wanted: int | None = None
) -> list[str]:
    """The configurations below a folder whose queue has too few consumers."""
    configs = configurations(folder)
    assert configs
    return [
        name
        for name, each in configs.items()
        if consumers(each, words) < (wanted or wanted_of(each))
    ]


def test_no_configuration_of_the_repository_stalls() -> None:
    assert stalling(REPOSITORY) == []
    assert len(configurations(REPOSITORY)) == 6


def test_none_of_a_filled_repository_stalls(tmp_path: Path) -> None:
    for jetson in (False, True):
        folder = tmp_path / str(jetson)
        fill_repository(folder, shipped_onnx(), jetson=jetson)
        # A board's detector takes longer than a desktop's: two keep up.
        assert stalling(folder, wanted=2 if jetson else None) == []


def test_none_of_a_server_on_one_core_stalls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    options = ServerOptions(onnx=shipped_onnx(), model=MODEL)
    assert (options.instances, options.threads) == (2, 1)
    stage_repository(
        tmp_path / "models",
        onnx=options.onnx,
        model=options.model,
        instances=options.instances,
        threads=options.threads,
        chained=True,
    )
    analyzer_server.lay_out(tmp_path / "measured", options)
    assert stalling(tmp_path) == []

    with pytest.raises(InputError, match="1 instance of the detector stalls; give at least 2"):
        replace(options, instances=1)
    refused = CliRunner().invoke(main, ["serve", "--instances", "1"])
    assert refused.exit_code == 2
    assert "1 is not in the range 2<=x<=64" in refused.stderr


@pytest.mark.parametrize("profile", SERVERS)
def test_every_server_of_compose_lets_instances_run_apart(profile: str) -> None:
    services = resolve(profile)
    (triton,) = tritons(services)
    words = command_of(services[triton])
    assert stalling(REPOSITORY, words) == []
    assert stalling(REPOSITORY, [word for word in words if word != BLOCKING]) == [
        "yolov5_face/config.pbtxt"
    ]


def test_a_single_consumer_is_caught(tmp_path: Path) -> None:
    for name, config in configurations(REPOSITORY).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        config.instance_group[0].count = 1
        path.write_text(text_format.MessageToString(config))
    assert stalling(tmp_path) == sorted(configurations(REPOSITORY))
