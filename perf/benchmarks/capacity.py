"""How many cameras of 1080p a machine with a GPU holds, computed by stage from measured parts.

No such machine was at hand. What the CPU does of a frame is measured where this runs; what a GPU
does was measured on an H100 (`perf/run gpu`) or is published; the rest is division.
"""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import av
import click
import numpy as np

from faceblur.detection.options import DEFAULT_SIZE
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.encoder import Encoder
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sources.preparation import Preparer, copy
from faceblur.live.sources.readers import DecodedFrame
from faceblur.video.hardware.probe import sample_video
from harness import Contender, command_line, interleave, machine_card, markdown, summarise

SIZE: Final = (1920, 1080)
STRIDE: Final = 32

NVDEC_FPS: Final = 621.0
"""Frames of 1080p that one decoding session of a T4 gave into the computer's memory:
https://github.com/NVIDIA/VideoProcessingFramework/issues/570 (9,712 frames in 15.64 s)."""

NVENC_FPS: Final = 447.0
"""Frames of 1080p that one session decoded and encoded again, on a GPU that is not named:
https://github.com/NVIDIA/VideoProcessingFramework/issues/205 (14,315 frames in 32 s)."""

SESSION_MIB: Final = 500
"""Memory of the GPU that one process takes to decode, at most; the same page."""

H100: Final = (66.9, 3350.0)
"""TFLOPS in FP32 and GB/s of memory of the card that was measured; NVIDIA's data sheet."""


PARTS: Final = {
    "decode_ms": "decode, H.264",
    "planes_ms": "lay out in planes what a device has decoded",
    "hand_over_ms": "copy into shared memory",
    "reduce_ms": "make the model input",
    "encode_ms": "encode with x264, as a stream",
    "copy_ms": "copy once, as to or from a device",
    "camera_ms": "follow and mask",
    "server_ms": "the server, whose network runs on the GPU",
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A GPU with what is usually rented with it.

    Attributes:
        gpu: Its name.
        cores: Of the CPU.
        memory_gib: Of the GPU.
        tflops: In FP32; NVIDIA's data sheets, as the next two.
        gb_per_s: Of its memory.
        decoders: NVDEC engines; NVIDIA's Video Encode and Decode GPU Support Matrix, as the next.
        encoders: NVENC engines.
    """

    gpu: str
    cores: int
    memory_gib: int
    tflops: float
    gb_per_s: float
    decoders: int
    encoders: int


MACHINES: Final = (
    Machine(
        gpu="T4", cores=4, memory_gib=16, tflops=8.1, gb_per_s=320, decoders=2, encoders=1
    ),
    Machine(
        gpu="L4", cores=8, memory_gib=24, tflops=30.3, gb_per_s=300, decoders=4, encoders=2
    ),
    Machine(
        gpu="A10", cores=16, memory_gib=24, tflops=31.2, gb_per_s=600, decoders=2, encoders=1
    ),
    Machine(
        gpu="H100", cores=16, memory_gib=80, tflops=66.9, gb_per_s=3350, decoders=7, encoders=0
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a frame takes.

    Attributes:
        decode_ms: CPU time to decode it; the next ones likewise.
        planes_ms: To lay what a device has decoded out in planes.
        hand_over_ms: To copy it into shared memory.
        reduce_ms: To make the model input.
        encode_ms: To encode it with x264, as for a stream.
        copy_ms: To copy it once, as to or from a device.
        camera_ms: To follow and mask it.
        server_ms: Of the server, which runs the network on the GPU.
        images_per_s: That the H100 found faces in.
        server_mib: What the server took of the GPU's memory.
    """

    decode_ms: float
    planes_ms: float
    hand_over_ms: float
    reduce_ms: float
    encode_ms: float
    copy_ms: float
    camera_ms: float
    server_ms: float
    images_per_s: float
    server_mib: float


@click.command("capacity")
@click.option(
    "--clip",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What is decoded and encoded, brought to 1080p.",
)
@click.option("--fps", default=15.0, show_default=True, help="Of each camera.")
@click.option("--frames", default=48, show_default=True, help="Measured on the CPU here.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=Path("perf/results"))
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def capacity(
    *, clip: Path, fps: float, frames: int, rounds: int, results: Path, output: Path
) -> None:
    """Cameras of 1080p a machine, by stage: measured parts, published figures, and division."""
    card = machine_card()
    rows, samples = _cpu_parts(clip, frames, rounds)
    measured = _measured(rows, results)
    stages = [stage | {"gpu": m.gpu} for m in MACHINES for stage in by_stage(m, measured, fps)]
    document = {
        "command": command_line(sys.argv),
        "card": card | {"clip": clip.name, "fps": fps, "frame": f"{SIZE[0]} × {SIZE[1]}"},
        "published": {"nvdec_fps": NVDEC_FPS, "nvenc_fps": NVENC_FPS, "session_mib": SESSION_MIB},
        "measured": asdict(measured),
        "machines": [asdict(machine) for machine in MACHINES],
        "stages": stages,
        "samples": samples,
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "capacity.json").write_text(json.dumps(document, indent=1) + "\n")
    text = report(document)
    (output / "capacity.md").write_text(text)
    click.echo(text)


def by_stage(machine: Machine, measured: Measured, fps: float) -> list[dict[str, Any]]:
    """Cameras that each stage of a machine holds, and what all of it does, in three ways."""
    m = measured
    always = m.hand_over_ms + m.reduce_ms + m.camera_ms + m.server_ms
    on_cpu = always + m.decode_ms + m.encode_ms
    decoded = always + m.planes_ms + m.copy_ms + m.encode_ms
    both = decoded - m.encode_ms + m.copy_ms
    share = min(machine.tflops / H100[0], machine.gb_per_s / H100[1])
    fixed = {
        "detection": m.images_per_s * share / fps,
        "nvdec": machine.decoders * NVDEC_FPS / fps,
        "nvenc": machine.encoders * NVENC_FPS / fps,
        "gpu_memory": (1024 * machine.memory_gib - m.server_mib) / SESSION_MIB,
    }
    ways = []
    for way, cost_ms, stages in (
        ("CPU decodes and encodes", on_cpu, ("detection",)),
        ("NVDEC decodes", decoded, ("detection", "nvdec", "gpu_memory")),
        ("NVDEC decodes, NVENC encodes", both, ("detection", "nvdec", "nvenc", "gpu_memory")),
    ):
        if "nvenc" in stages and machine.encoders == 0:
            continue
        held = {"cpu": 1000 * machine.cores / (cost_ms * fps)}
        held |= {stage: fixed[stage] for stage in stages}
        bound = min(held, key=lambda stage: held[stage])
        cameras = {stage: math.floor(count) for stage, count in held.items()}
        ways.append(
            {"way": way, "cpu_ms": cost_ms, **cameras, "cameras": cameras[bound], "bound": bound}
        )
    return ways


def _cpu_parts(
    clip: Path, frames: int, rounds: int
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """What each part takes of a core for a frame, milliseconds."""
    with av.open(str(clip)) as source:
        images = [
            frame.reformat(*SIZE, "yuv420p", interpolation="BICUBIC")
            for frame, _ in zip(source.decode(video=0), range(frames), strict=False)
        ]
    sample = sample_video("h264", images)
    preparer = Preparer(size=DEFAULT_SIZE, stride=STRIDE, tiles="off")
    now_s = time.monotonic()
    decoded = [DecodedFrame(image, now_s, now_s) for image in images]
    device = [DecodedFrame(image.reformat(format="nv12"), now_s, now_s) for image in images]
    _, format_ = preparer.upright(decoded[0])
    memory = np.empty(format_.size_bytes, np.uint8)
    other = np.empty(format_.size_bytes, np.uint8)
    works: dict[str, Callable[[], object]] = {
        "decode_ms": lambda: _decode(sample),
        "planes_ms": lambda: deque((preparer.upright(each) for each in device), maxlen=1),
        "hand_over_ms": lambda: [copy(image, format_, memory) for image in images],
        "reduce_ms": lambda: deque(
            (preparer.model_inputs(format_, memory, 2, now_s) for _ in images), maxlen=1
        ),
        "encode_ms": lambda: _encode(images, format_),
        "copy_ms": lambda: [np.copyto(other, memory) for _ in images],
    }
    contenders = [Contender(name, lambda w=work: w()) for name, work in works.items()]  # type: ignore[misc]
    samples = interleave(contenders, rounds=rounds)
    rows = summarise(contenders, samples, units=frames)
    return {row.contender: row.cpu_ms_per_unit for row in rows}, [asdict(s) for s in samples]


def _decode(sample: bytes) -> None:
    with av.open(io.BytesIO(sample)) as source:
        stream = source.streams.video[0]
        # As of a camera: one core for each stream.
        stream.codec_context.thread_count = 1
        for _ in source.decode(stream):
            pass


def _encode(images: Sequence[av.VideoFrame], format_: FrameFormat) -> None:
    """As a camera sends a stream."""
    with av.open(io.BytesIO(), "w", format="mpegts") as output:
        encoder = Encoder(output, format_, SinkOptions(kind="segments", target="nowhere"))
        for number, image in enumerate(images):
            encoder.write(image, number / 15)
        encoder.flush()


def _measured(rows: dict[str, float], results: Path) -> Measured:
    """The CPU's parts, with what other benchmarks found."""
    gpu = json.loads((results / "gpu.json").read_text())
    cameras = json.loads((results / "cameras.json").read_text())
    points = [
        point
        for point in gpu["points"]
        if (point["case"]["model"], point["case"]["precision"]) == ("fast", "fp32")
        and point["case"]["runtime"] == "CUDA"
    ]
    whole = [cost["parts_ms"] for cost in cameras["costs"] if cost["way"] == "full pipeline"]
    return Measured(
        **{name: round(value, 3) for name, value in rows.items()},
        camera_ms=round(float(np.median([parts["camera"] for parts in whole])), 3),
        # Of cameras, whose frames come one by one; the least, since the others waited for plans.
        server_ms=round(min(p["cpu_ms"] for p in points if p["case"]["cameras"]), 3),
        images_per_s=max(point["frames_per_s"] for point in points),
        server_mib=min(
            server["gpu_memory_mib"]
            for server in gpu["servers"]
            if (server["network"], server["runtime"]) == ("fast", "CUDA")
        ),
    )


def report(document: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    titles = {"cpu": "CPU", "detection": "detection", "nvdec": "NVDEC", "nvenc": "NVENC"}
    titles["gpu_memory"] = "GPU memory"
    machines = {machine["gpu"]: machine for machine in document["machines"]}
    rows = [
        (
            f"{stage['gpu']}, {machines[stage['gpu']]['cores']} cores",
            stage["way"],
            f"{stage['cpu_ms']:.1f}",
            *(stage.get(name, "–") for name in titles),
            f"**{stage['cameras']}** ({titles[stage['bound']]})",
        )
        for stage in document["stages"]
    ]
    head = " | ".join(
        ("machine", "who decodes and encodes", "CPU ms a frame", *titles.values(), "cameras")
    )
    parts = [
        "# Cameras a machine, computed",
        f"`{document['command']}`",
        "**Computed, not measured**: cameras of 1080p at "
        f"{document['card']['fps']:g} fps that each stage holds, and the least of them. The CPU's "
        "parts were measured on the machine below, a camera's own work and the server's in "
        "`cameras.json` and `gpu.json`. Detection is what the H100 gave, times the share of its "
        "FP32 rate or of its memory's, whichever is less. Each NVDEC engine counts as the T4's "
        f"({NVDEC_FPS:g} frames/s), each NVENC engine as one that gave {NVENC_FPS:g}; each process "
        f"that decodes takes {SESSION_MIB} MiB of the GPU.",
        markdown(head, rows, left=(0, 1)),
        "## What a frame takes of a core, milliseconds",
        markdown(
            "part | ms",
            [(k, f"{v:.2f}") for k, v in document["measured"].items() if k.endswith("_ms")],
        ),
        "\n".join(f"- {key}: {value}" for key, value in document["card"].items()),
    ]
    return "\n\n".join(parts) + "\n"
