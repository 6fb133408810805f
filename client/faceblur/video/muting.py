"""Parts of the sound that are not to be heard: silence, or a tone, in place of what was said."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, get_args

import av
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError
from faceblur.times import TimeSpan

SoundEffect = Literal["mute", "beep"]

_HERTZ: Final = 1000
_LEVEL: Final = 0.1
"""Of full scale: 20 dB below it."""

_SAMPLES: Final = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
"""What FFmpeg's sample formats are in memory."""


@dataclass(frozen=True)
class SoundSpan:
    """A part of the sound that is replaced, in every track.

    Attributes:
        effect: "mute" leaves silence, "beep" a tone; where both are, there is silence.
        time: From the start of the video.

    Raises:
        InputError: There is no such effect.
    """

    effect: SoundEffect
    time: TimeSpan

    def __post_init__(self) -> None:
        """Check the effect."""
        if self.effect not in get_args(SoundEffect):
            raise InputError(f"sound can be muted or beeped over, not {self.effect!r}")

    def __str__(self) -> str:
        """Effect and time, as they are typed."""
        return f"{self.effect} {self.time}"


class Muting:
    """Replaces parts of the sound of one video, and remembers which there were.

    Args:
        spans: In any order; they may overlap.
        start_s: When the video starts on the clock of what is given to it, seconds.
    """

    def __init__(self, spans: Sequence[SoundSpan] = (), *, start_s: Fraction = Fraction(0)) -> None:
        # Silence comes last, over any tone.
        self._spans = sorted(spans, key=lambda span: span.effect)
        self._start_s = start_s
        self._met: set[SoundSpan] = set()

    def __bool__(self) -> bool:
        return bool(self._spans)

    @property
    def told(self) -> Sequence[str]:
        """What was replaced so far, for people."""
        done = {"mute": "muted", "beep": "beeped over"}
        met = [span for span in self._spans if span in self._met]
        return [f"sound of {span.time} {done[span.effect]}" for span in met]

    @property
    def unmet(self) -> Sequence[SoundSpan]:
        """Those in which there was no sound so far."""
        return [span for span in self._spans if span not in self._met]

    def erase(self, frame: av.AudioFrame, begin_s: Fraction) -> None:
        """Replace what is in the spans, in the frame itself.

        A sample is in a span if it starts in it. Where the clock is coarser than the samples, as in
        Matroska, the span is longer by half a tick at each end.

        Args:
            frame: Decoded sound.
            begin_s: When its first sample is heard, seconds on the clock of `start_s`.
        """
        rate, begin_s = frame.sample_rate, begin_s - self._start_s
        tick_s = Fraction(frame.time_base or 0)
        margin_s = tick_s / 2 if tick_s * rate > 1 else Fraction(0)
        for span in self._spans:
            first = math.ceil((span.time.start_s - margin_s - begin_s) * rate)
            last = frame.samples
            if span.time.end_s is not None:
                last = min(last, math.ceil((span.time.end_s + margin_s - begin_s) * rate))
            first = max(0, first)
            if first < last:
                self._met.add(span)
                _replace(frame, first, last, span.effect, round(begin_s * rate))

    def covers(self, begin_s: Fraction, end_s: Fraction) -> bool:
        """Whether what is shown from one time to another, or only at one, touches a span."""
        begin_s, end_s = begin_s - self._start_s, end_s - self._start_s
        return any(
            (span.time.end_s is None or begin_s < span.time.end_s)
            and (span.time.start_s < end_s or span.time.start_s <= begin_s)
            for span in self._spans
        )


def _replace(frame: av.AudioFrame, first: int, last: int, effect: SoundEffect, at: int) -> None:
    """Replace some samples of a frame whose first is `at` samples after the start."""
    frame.make_writable()
    kind = np.dtype(_SAMPLES[frame.format.name.removesuffix("p")])
    channels = 1 if frame.format.is_planar else frame.layout.nb_channels
    wanted = np.zeros(last - first)
    if effect == "beep":
        turns = np.arange(at + first, at + last) * (_HERTZ / frame.sample_rate)
        wanted = _LEVEL * np.sin(2 * np.pi * turns)
    for plane in frame.planes:
        samples = np.frombuffer(memoryview(plane), kind, frame.samples * channels).reshape(
            -1, channels
        )
        samples[first:last] = _quantized(wanted, kind)[:, None]


def _quantized(wanted: npt.NDArray[np.float64], kind: np.dtype[np.generic]) -> npt.NDArray[Any]:
    """Samples of -1 to 1 in a format of FFmpeg's."""
    if kind.kind != "f":
        middle = 128 if kind.kind == "u" else 0
        wanted = np.rint(wanted * 2.0 ** (8 * kind.itemsize - 1)) + middle
    return np.asarray(wanted, kind)
