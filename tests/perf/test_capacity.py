"""Cameras a machine, by stage."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.capacity.machines import (
    MACHINES,
    NVDEC_FPS,
    SESSION_MIB,
    Machine,
    Measured,
    by_stage,
)

MEASURED = Measured(
    decode_ms=4,
    planes_ms=0.5,
    hand_over_ms=0.5,
    reduce_ms=1,
    encode_ms=10,
    copy_ms=0.5,
    camera_ms=2,
    server_ms=2.5,
    images_per_s=1000,
    server_mib=4096,
)
MACHINE = Machine(
    gpu="half", cores=4, memory_gib=14, tflops=33.45, gb_per_s=3350, decoders=1, encoders=1
)


def test_the_least_stage_decides() -> None:
    on_cpu, decoded, both = by_stage(MACHINE, MEASURED, 10)
    # 4 cores of 20 ms a frame at 10 fps, and half of the card's images.
    assert (on_cpu["cpu"], on_cpu["detection"], on_cpu["cameras"]) == (20, 50, 20)
    assert "nvdec" not in on_cpu
    assert (decoded["cpu_ms"], both["cpu_ms"]) == (17, 7.5)
    assert decoded["nvdec"] == int(NVDEC_FPS / 10)
    assert both["gpu_memory"] == 10 * 1024 // SESSION_MIB
    assert (both["bound"], both["cameras"]) == ("gpu_memory", 20)
    slow = replace(MEASURED, images_per_s=100)
    assert {stage["bound"] for stage in by_stage(MACHINE, slow, 10)} == {"detection"}
    # Slow memory counts as much as slow arithmetic.
    narrow = replace(MACHINE, gb_per_s=335)
    assert by_stage(narrow, MEASURED, 10)[0]["detection"] == 10


def test_a_card_that_cannot_encode_is_not_said_to() -> None:
    ways = {machine.gpu: len(by_stage(machine, MEASURED, 15)) for machine in MACHINES}
    assert ways == {"T4": 3, "L4": 3, "A10": 3, "H100": 2}
