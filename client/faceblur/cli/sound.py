"""--audio: what becomes of the sound of a video, all of it and parts of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, cast, get_args

import click

from faceblur.errors import InputError
from faceblur.times import TimeSpan
from faceblur.video.muting import SoundEffect, SoundSpan

_WHOLE: Final = ("keep", "drop")
_EFFECTS: Final = get_args(SoundEffect)


class Sound(NamedTuple):
    """What becomes of all of the sound, "keep" or "drop", and of parts of it."""

    audio: str
    muted: tuple[SoundSpan, ...]


class SoundOption(click.Option):
    """An option whose value may be two words: mute 0:10-0:14."""


def with_spans(options: Sequence[click.Parameter], args: Sequence[str]) -> list[str]:
    """Join mute and beep with the time after them, where they are the value of a `SoundOption`."""
    names = {name for each in options if isinstance(each, SoundOption) for name in each.opts}
    left, joined = deque(args), list[str]()
    while left and left[0] != "--":
        joined.append(left.popleft())
        name, equals, value = joined[-1].partition("=")
        if name not in names:
            continue
        if not equals and left:
            joined.append(left.popleft())
            value = joined[-1]
        if value in _EFFECTS and left and not left[0].startswith("-"):
            joined[-1] += f" {left.popleft()}"
    return [*joined, *left]


def sound_of(texts: Sequence[str]) -> Sound:
    """Read the values of --audio: keep, drop, mute START-END or beep START-END.

    Raises:
        InputError: One is something else.
    """
    audio, muted = "keep", list[SoundSpan]()
    for text in texts:
        word, _, times = text.strip().partition(" ")
        if word in _WHOLE and not times:
            audio = word
        elif word in _EFFECTS and times:
            effect = cast(SoundEffect, word)
            muted += [SoundSpan(effect, TimeSpan.parse(each)) for each in times.split(",")]
        else:
            raise InputError(
                f"--audio cannot be {text!r}: give keep, drop, mute or beep, the last two with a "
                "time such as mute 0:10-0:14"
            )
    return Sound(audio, tuple(muted))
