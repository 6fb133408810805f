"""How what moves is told from what stands still."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from faceblur.errors import InputError

MovingMode = Literal["off", "mask"]
Shadows = Literal["mask", "leave"]

MAX_HOLD_S = 86_400.0


@dataclass(frozen=True, kw_only=True)
class MovingOptions:
    """Settings of the mask over what moves.

    Attributes:
        mode: "mask" to mask whatever differs from the background; "off" for faces alone. A view
            that moves is masked wholly.
        hold_s: What has not changed for so long is background, seconds. So long is everything
            masked at the start, and somebody who stands still.
        face_hold_s: The same where a face was seen: counted from when it was seen last.
        contrast: By how much a pixel must differ, in levels of 255, beside its own noise. Lower
            finds people in the colours of the background, and masks more that is nobody.
        smallest: What is smaller is left alone, as a share of the frame's area: noise, insects,
            drops of rain.
        margin: What is added around what moves, as a share of the frame's longer side.
        shadows: "leave" shows where it is just darker than the background, and with it who wears
            grey; "mask" masks that too.

    Raises:
        InputError: A setting is out of its range.
    """

    mode: MovingMode = "off"
    hold_s: float = 60.0
    face_hold_s: float = 600.0
    contrast: float = 10.0
    smallest: float = 0.0005
    margin: float = 0.0125
    shadows: Shadows = "mask"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, allowed in (("mode", get_args(MovingMode)), ("shadows", get_args(Shadows))):
            value = getattr(self, name)
            if value not in allowed:
                choices = ", ".join(allowed)
                raise InputError(f"{name} of what moves cannot be {value!r}: use {choices}")
        ranges = {
            "hold_s": (0.5, MAX_HOLD_S),
            "face_hold_s": (0.5, MAX_HOLD_S),
            "contrast": (2.0, 60.0),
            "smallest": (0.0, 0.05),
            "margin": (0.0, 0.2),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(
                    f"{name} of what moves cannot be {value:g}: use {low:g} to {high:g}"
                )

    @property
    def is_on(self) -> bool:
        """Whether anything is masked because it moves."""
        return self.mode == "mask"
