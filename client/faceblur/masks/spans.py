"""Parts of a video that are treated in their own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from faceblur.errors import InputError
from faceblur.schema.conversion import build, register, to_json
from faceblur.schema.values import named
from faceblur.times import TimeSpan

Effect = Literal["hide", "spare"]


@dataclass(frozen=True)
class Span:
    """A part of a video that is treated in its own way.

    A frame is hidden if it is shown at any time of the span, and spared only if it is shown at no
    time outside it.

    Attributes:
        effect: "hide" masks the whole image, "spare" leaves faces alone.

    Raises:
        InputError: There is no such effect.
    """

    effect: Effect
    time: TimeSpan

    def __post_init__(self) -> None:
        """Check the effect."""
        if self.effect not in get_args(Effect):
            raise InputError(f"a time span can hide or spare, not {self.effect!r}")


def _span(value: object) -> Span:
    if isinstance(value, Span):
        return value
    time = dict(named(value))
    effect = {"effect": time.pop("effect")} if "effect" in time else {}
    return build(Span, {**effect, "time": time})


register(Span, read=_span, write=lambda span: {"effect": span.effect, **to_json(span.time)})
