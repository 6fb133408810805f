"""Measure what decoders and encoders take: `python -m faceblur.video.hardware.probe`.

A process of its own, since a driver can end the one that it runs in. Reads a `Question` from stdin
as JSON and writes a `Measurement`.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.video.encoder_settings import encoder_settings
from faceblur.video.frames import SCALER_THREADS, VideoProperties
from faceblur.video.hardware.decoder import difference
from faceblur.video.hardware.devices import FAILURES, DeviceError, accelerator, native_context
from faceblur.video.opening import open_encoder, reason
from faceblur.video.options import VideoOptions

_SAMPLES: Final = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "25"}),
    "hevc": ("libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "b": "4M"}),
    "av1": ("libsvtav1", {"preset": "13"}),
}
"""What makes a sample of each codec: quickly, with all that makes decoding it hard."""

ENCODERS: Final = {"libx264": "h264_nvenc", "libx265": "hevc_nvenc", "libsvtav1": "av1_nvenc"}
"""By the CPU's encoder, what may take its place on an NVIDIA GPU."""

_RATE: Final = 25

LEAST_PSNR: Final = 30.0
"""Of what an encoder makes of the sample, decibels: an encoder that spoils frames is not used."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to measure.

    Attributes:
        devices: Where to decode, beside the CPU; where `cuda` is one, it encodes too.
        size: Width and height of the frames, pixels.
        frames: So many.
    """

    devices: tuple[str, ...]
    size: tuple[int, int] = (1920, 1080)
    frames: int = 32


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What decoding or encoding takes; nothing of it where there is an objection.

    Attributes:
        frames_per_s: By the clock; on the CPU with one core, where it decodes.
        cpu_s: Time of a CPU core for one frame.
        objection: Why it is not used.
    """

    frames_per_s: float = 0.0
    cpu_s: float = 0.0
    objection: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was found.

    Attributes:
        decoders: By codec, then `cpu` or the device.
        encoders: By FFmpeg's name of the encoder.
    """

    decoders: dict[str, dict[str, Pace]] = field(default_factory=dict)
    encoders: dict[str, Pace] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Measurement:
        """Read what `main` has written.

        Raises:
            ValueError: It is something else.
            TypeError: Likewise.
        """
        found = json.loads(text)
        return cls(
            decoders={
                codec: {name: Pace(**pace) for name, pace in paces.items()}
                for codec, paces in found["decoders"].items()
            },
            encoders={name: Pace(**pace) for name, pace in found["encoders"].items()},
        )


def measure(question: Question) -> Measurement:
    """Make samples and measure everything on them."""
    images = list(sample_images(question))
    decoders = {}
    for codec in _SAMPLES:
        try:
            sample = sample_video(codec, images)
        except FAILURES:
            continue
        decoders[codec] = {name: _decoding(sample, name) for name in ("cpu", *question.devices)}
    encoders = {}
    if "cuda" in question.devices:
        for on_cpu, on_gpu in ENCODERS.items():
            encoders[on_gpu] = _encoding(on_gpu, images)
            if not encoders[on_gpu].objection:
                encoders[on_cpu] = _encoding(on_cpu, images)
    return Measurement(decoders=decoders, encoders=encoders)


def sample_images(question: Question) -> Iterator[av.VideoFrame]:
    """A wall of detail that moves, with noise: what cameras see."""
    width, height = question.size
    random = np.random.default_rng(0)
    wall = random.integers(0, 256, (height // 8 + 2, width // 8 + 2), dtype=np.uint8)
    wide = np.kron(wall, np.ones((8, 8), np.uint8))
    for number in range(question.frames):
        image = av.VideoFrame(width, height, "yuv420p")
        moved = np.roll(wide, (number, 2 * number), (0, 1))[:height, :width]
        noise = random.integers(-1, 2, moved.shape, dtype=np.int16)
        luma = np.clip(moved // 2 + 64 + noise, 0, 255).astype(np.uint8)
        chroma = luma[::2, ::2] // 2
        for plane, samples in zip(image.planes, (luma, chroma + 64, 192 - chroma), strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
            rows[:, : plane.width] = samples
        yield image


def sample_video(codec: str, images: Sequence[av.VideoFrame]) -> bytes:
    """The images as a video of a codec, in Matroska."""
    encoder, settings = _SAMPLES[codec]
    return _encoded(encoder, settings, images)


def _encoded(encoder: str, settings: dict[str, str], images: Sequence[av.VideoFrame]) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        stream: Any = output.add_stream(encoder, rate=_RATE, options=dict(settings))
        stream.width, stream.height = images[0].width, images[0].height
        takes = {each.name for each in stream.codec_context.codec.video_formats or ()}
        stream.pix_fmt = "nv12" if "yuv420p" not in takes else "yuv420p"
        open_encoder(stream.codec_context)
        for number, image in enumerate(images):
            image.pts, image.time_base, image.pict_type = number, Fraction(1, _RATE), 0
            output.mux(stream.encode(image))
        output.mux(stream.encode(None))
    return target.getvalue()


def _decoding(sample: bytes, device: str) -> Pace:
    """What decoding takes, with all that it takes to draw on the frames."""
    try:
        with av.open(io.BytesIO(sample)) as source, av.open(io.BytesIO(sample)) as reference:
            stream: Any = source.streams.video[0]
            context = stream.codec_context
            if device != "cpu":
                context = device_context(device, stream)
            # One core for each stream of many.
            context.thread_count = 1
            packets = [packet for packet in source.demux(stream) if packet.size]
            # The first frame also pays for the device's start.
            frames = context.decode(packets[0])
            last = frames[0] if frames else None
            wall, cpu = time.perf_counter(), time.process_time()
            planar, count = VideoReformatter(), 0
            for packet in (*packets[1:], None):
                for frame in context.decode(packet):
                    planar.reformat(frame, format="yuv420p", threads=SCALER_THREADS)
                    last, count = frame, count + 1
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if device == "cpu":
                return Pace(frames_per_s=count / wall, cpu_s=cpu / count)
            *_, expected = reference.decode(video=0)
            if last is None or count + len(frames) != len(packets):
                return Pace(objection="it loses frames")
            objection = difference(last, expected)
            return Pace(frames_per_s=count / wall, cpu_s=cpu / count, objection=objection)
    except (*FAILURES, DeviceError) as error:
        return Pace(objection=reason(error))


def device_context(device: str, stream: Any) -> Any:
    """A codec context on a device for a stream."""
    return native_context(stream, accelerator(device, stream.codec_context.codec.canonical_name))


def _encoding(encoder: str, images: Sequence[av.VideoFrame]) -> Pace:
    """What encoding takes, at the quality that videos are written in."""
    properties = VideoProperties(
        width=images[0].width,
        height=images[0].height,
        pixel_format="yuv420p",
        time_base=Fraction(1, _RATE),
    )
    settings = encoder_settings(encoder, VideoOptions(), properties)
    try:
        # The first time also pays for the device's start.
        _encoded(encoder, settings, images[:1])
        wall, cpu = time.perf_counter(), time.process_time()
        made = _encoded(encoder, settings, images)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        with av.open(io.BytesIO(made)) as source:
            shown = [_luma(frame) for frame in source.decode(video=0)]
    except FAILURES as error:
        return Pace(objection=reason(error))
    if len(shown) != len(images):
        return Pace(objection="it loses frames")
    worst = min(_psnr(a, _luma(b)) for a, b in zip(shown, images, strict=True))
    objection = "" if worst >= LEAST_PSNR else f"it spoils frames ({worst:.0f} dB)"
    return Pace(frames_per_s=len(images) / wall, cpu_s=cpu / len(images), objection=objection)


def _luma(frame: av.VideoFrame) -> Any:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    return rows[::4, : plane.width : 4].astype(np.float32)


def _psnr(mine: Any, theirs: Any) -> float:
    error = float(np.mean((mine - theirs) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def main() -> None:
    """Answer the question on stdin."""
    # SVT-AV1 talks on stderr, and can only be told so.
    os.environ.setdefault("SVT_LOG", "1")
    asked = json.load(sys.stdin)
    found = measure(Question(devices=tuple(asked.pop("devices")), **asked))
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
