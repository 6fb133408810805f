"""Machines with a GPU, and how many cameras each stage of them holds: figures and division."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

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
