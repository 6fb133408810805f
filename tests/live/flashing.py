"""A clip that flashes and beeps at the same moments."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS, RATE, SECONDS = 10, 48_000, 5
MOMENTS = (0.5, 1.0, 1.6, 2.1, 2.7, 3.2, 3.8, 4.3)
"""Seconds at which a clip flashes and beeps, for a tenth of a second; unevenly, so that no delay
looks like none, and often, so that enough is left where a busy machine drops some."""


def _is_loud(second: float) -> bool:
    return any(moment - 1e-6 <= second < moment + 0.1 - 1e-6 for moment in MOMENTS)


def flashing_clip(path: Path, codec: str, *, rate: int = RATE) -> Path:
    """Flashes and beeps at the same moments."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(
            format=sound.codec_context.format or "fltp", layout="mono", rate=rate,
            frame_size=sound.codec_context.frame_size or 0,
        )  # fmt: skip
        for number in range(FPS * SECONDS):
            second = number / FPS
            light = 235 if _is_loud(second) else 20
            image = np.full((360, 320), 128, np.uint8)
            image[:240] = light
            frame = av.VideoFrame.from_ndarray(image, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(video.encode(frame))
            count = rate // FPS
            time_s = second + np.arange(count) / rate
            wave = np.sin(2 * math.pi * 1000 * time_s) * (0.8 if _is_loud(second) else 0)
            piece = av.AudioFrame.from_ndarray(
                (wave * 32767).astype(np.int16)[None], format="s16", layout="mono"
            )
            piece.sample_rate, piece.pts, piece.time_base = rate, number * count, Fraction(1, rate)
            for whole in resampler.resample(piece):
                container.mux(sound.encode(whole))
        container.mux(video.encode(None))
        for whole in resampler.resample(None):
            container.mux(sound.encode(whole))
        container.mux(sound.encode(None))
    return path
