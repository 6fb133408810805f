"""What the export's own ONNX nodes gain over PyTorch's exporter, for the same network."""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from faceblur_export.network import YOLOv5Face
from faceblur_export.onnx_graph.builder import FLOAT, OPSET, UINT8, OnnxBuilder
from faceblur_export.onnx_graph.layers import add_network
from faceblur_export.weights.checkpoint import load_model
from faceblur_training.loop.release import checkpoint_named
from harness import (
    Contender,
    card_lines,
    command_line,
    interleave,
    machine_card,
    markdown,
    page_of,
    summarise,
    write_results,
)

SHAPES = ((1, 384, 640), (3, 96, 160), (2, 640, 384))
"""Batch, height and width at which both are held against PyTorch; the first is timed."""

FREE = ("batch", "height", "width")


@dataclass(frozen=True)
class Exported:
    """One way to export.

    Attributes:
        way: Its name.
        export_s: Seconds for one export, the median.
        file_bytes: Size of the ONNX file.
        nodes: Operations in it.
        same_bytes: Whether a second export gives the same file.
        largest_difference: From what PyTorch gives, over all `SHAPES`; infinite where it fails.
        images_per_s: ONNX Runtime, one thread, images of the first shape.
        speed_ratio: Against the first way, the median of rounds in turn.
    """

    way: str
    export_s: float
    file_bytes: int
    nodes: int
    same_bytes: bool
    largest_difference: float
    images_per_s: float
    speed_ratio: float


class _Network(nn.Module):
    """Images (B, H, W, 3) uint8 → head maps, as the exported file."""

    def __init__(self, model: YOLOv5Face) -> None:
        super().__init__()
        self.net = model

    def forward(self, images: Tensor) -> list[Tensor]:
        return self.net.head_maps(images.permute(0, 3, 1, 2).float() / 255)


def own_nodes(model: YOLOv5Face) -> bytes:
    """The network as `faceblur-export onnx` writes it, without the choice of candidates."""
    builder = OnnxBuilder()
    pixels = builder.add("Cast", ["images"], "pixels_nhwc", to=FLOAT)
    pixels = builder.add("Transpose", [pixels], "pixels", perm=[0, 3, 1, 2])
    maps = add_network(builder, model, pixels)
    outputs = {name: (FLOAT, ["batch", 48, f"{name}_y", f"{name}_x"]) for name in maps}
    graph = builder.model({"images": (UINT8, [*FREE, 3])}, outputs, {})
    return bytes(graph.SerializeToString(deterministic=True))


def torch_onnx(model: YOLOv5Face) -> bytes:
    """The network as `torch.onnx` traces it; its newer exporter wants `onnxscript` besides."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Network(model.fuse()).eval(),
            (torch.zeros(1, 384, 640, 3, dtype=torch.uint8),),
            content,
            input_names=["images"],
            dynamic_axes={"images": dict(enumerate(FREE))},
            opset_version=OPSET,
            dynamo=False,
        )
    return content.getvalue()


WAYS: dict[str, Callable[[YOLOv5Face], bytes]] = {
    "torch.onnx": torch_onnx,
    "own nodes": own_nodes,
}


@click.command("exporting")
@click.argument("checkpoint", type=click.Path(path_type=Path), default=Path("bundled"))
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def exporting(*, checkpoint: Path, rounds: int, output: Path) -> None:
    """Export CHECKPOINT by PyTorch's exporter and by our own nodes, and compare the files."""
    model = load_model(checkpoint_named(checkpoint))[0]
    files, seconds = {}, {}
    for name, way in WAYS.items():
        files[name], seconds[name] = _exports(way, model)
    sessions = {name: _session(made[0]) for name, made in files.items()}
    image = _images(SHAPES[0])
    contenders = [
        Contender(name, lambda session=session: session.run(None, {"images": image}))
        for name, session in sessions.items()
    ]
    speeds = summarise(contenders, interleave(contenders, rounds=rounds), units=1)
    rows = [
        Exported(
            way=name,
            export_s=seconds[name],
            file_bytes=len(files[name][0]),
            nodes=len(onnx.load_from_string(files[name][0]).graph.node),
            same_bytes=len(set(files[name])) == 1,
            largest_difference=_difference(sessions[name], model),
            images_per_s=speed.units_per_s,
            speed_ratio=speed.speed_ratio,
        )
        for name, speed in zip(files, speeds, strict=True)
    ]
    card = machine_card() | {
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "variant": model.variant,
        "rounds": rounds,
    }
    _write(output, card, rows)


def _exports(way: Callable[[YOLOv5Face], bytes], model: YOLOv5Face) -> tuple[list[bytes], float]:
    """Three files, and the median of the seconds they took."""
    files, seconds = [], []
    for _ in range(3):
        started = time.perf_counter()
        files.append(way(model))
        seconds.append(time.perf_counter() - started)
    return files, sorted(seconds)[1]


def _session(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])


def _images(shape: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(7).integers(0, 256, (*shape, 3), np.uint8)


def _difference(session: Any, model: YOLOv5Face) -> float:
    worst = 0.0
    network = _Network(model).eval()
    for shape in SHAPES:
        images = _images(shape)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(images))
        try:
            given = session.run(None, {"images": images})
        except Exception:  # noqa: BLE001  its errors share no public base
            return float("inf")
        for a, b in zip(wanted, given, strict=True):
            same = a.numpy().shape == b.shape
            worst = max(worst, float(np.abs(a.numpy() - b).max()) if same else float("inf"))
    return worst


def _write(output: Path, card: dict[str, object], rows: Sequence[Exported]) -> None:
    command = command_line(sys.argv)
    document = {"command": command, "card": card, "ways": [asdict(row) for row in rows]}
    head = "exported by | seconds | MB | nodes | same bytes again | difference | images/s | ratio"
    cells = [
        (
            *(row.way, f"{row.export_s:.2f}", f"{row.file_bytes / 1e6:.2f}", row.nodes),
            *("yes" if row.same_bytes else "no", f"{row.largest_difference:.1e}"),
            *(f"{row.images_per_s:.1f}", f"{row.speed_ratio:.2f}"),
        )
        for row in rows
    ]
    shapes = ", ".join("×".join(map(str, shape)) for shape in SHAPES)
    parts = [
        "# exporting",
        f"`{command}`",
        "The same network, images in and head maps out, as an ONNX file made in two ways. The "
        f"difference is the largest from PyTorch at {shapes} (batch, height, width); images per "
        "second are ONNX Runtime's on one thread, in turn, at the first of them.",
        markdown(head, cells, left=(0, 4)),
        card_lines(card),
    ]
    text = page_of(parts)
    write_results(output, "exporting", document, text)
    click.echo(text)
