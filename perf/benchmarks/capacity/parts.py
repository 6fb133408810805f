"""What the CPU does of a frame of 1080p, measured part by part."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

from faceblur.detection.options import DEFAULT_SIZE
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.encoder import Encoder
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sources.preparation import Preparer, copy
from faceblur.live.sources.readers import DecodedFrame
from faceblur.video.hardware.probe import sample_video
from harness import Contender, interleave, summarise

SIZE: Final = (1920, 1080)
STRIDE: Final = 32


def cpu_parts(
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
