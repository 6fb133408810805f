"""ONNX Runtime and OpenVINO on one core of this machine's CPU, in one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from faceblur.detection import models
from faceblur.detection.models import INPUT, OUTPUTS, open_onnx
from faceblur.detection.repository import BUNDLED_MODEL, load_code
from faceblur.detection.runtimes import has_bfloat16
from harness import Contender, interleave, machine_card, save, summarise

SHAPE = (384, 640)
RUNS = 10


@click.command("runtimes")
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def runtimes(*, model: str, rounds: int, output: Path) -> None:
    """One inference of 384 × 640 by each runtime, taking turns on one core.

    The accuracy is the gate's business: `faceblur-export gate MODEL --openvino`.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    onnx, info = models.find(model)
    network = load_code("yolov5_face", "openvino_network").OpenVinoNetwork
    opened: dict[str, Callable[[], Any]] = {
        "ONNX Runtime": lambda: open_onnx(onnx, threads=1),
        "OpenVINO, FP32": lambda: network(onnx, streams=1, threads=1, precision="f32"),
        "OpenVINO, bfloat16": lambda: network(onnx, streams=1, threads=1),
    }
    started, contenders = {}, []
    for name, opening in opened.items():
        begin = time.perf_counter()
        contenders.append(Contender(name, _work(opening())))
        started[f"{name}: opened in, s"] = round(time.perf_counter() - begin, 2)
    samples = interleave(contenders, rounds=rounds)
    card = machine_card() | {
        "model": info.name,
        "sha256": info.sha256,
        "image": f"{SHAPE[0]} × {SHAPE[1]}",
        "onnxruntime": version("onnxruntime"),
        "openvino": version("openvino"),
        "bfloat16 in this CPU": "yes" if has_bfloat16() else "no: it is imitated",
    }
    rows = summarise(contenders, samples, units=RUNS)
    save(
        output, "runtimes", rows=rows, samples=samples, card=card | started, unit="inferences",
        notes=["The same ONNX file on one core, without decoding and suppression."],
    )  # fmt: skip
    click.echo((output / "runtimes.md").read_text())


def _work(session: Any) -> Callable[[], None]:
    canvas = np.random.default_rng(0).integers(0, 255, (1, *SHAPE, 3), dtype=np.uint8)

    def work() -> None:
        for _ in range(RUNS):
            session.run(OUTPUTS, {INPUT: canvas})

    return work
