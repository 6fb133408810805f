"""How masks look and what becomes of the sound, where somebody wants that otherwise."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from faceblur.errors import InputError
from faceblur.masks.style import MAX_CELLS, MaskMode, MaskShape, MaskStyle
from faceblur.video.muting import SoundSpan
from faceblur.video.options import VideoOptions

_COLOUR: Final = re.compile(r"#[0-9a-f]{6}")
_MOST_SPANS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Look:
    """How faces are covered; see `MaskStyle`, whose ranges hold.

    Attributes:
        colour: Such as #0a64ff, for "solid".

    Raises:
        InputError: A value is out of its range.
    """

    mode: MaskMode = "veil"
    shape: MaskShape = "ellipse"
    expand: float = MaskStyle().expand
    cells: int = MAX_CELLS
    feather: float = 0.0
    colour: str = "#000000"

    def __post_init__(self) -> None:
        """Check every value."""
        if not _COLOUR.fullmatch(self.colour):
            raise InputError(f"{self.colour!r} is no colour: give one such as #0a64ff")
        # Whether there is an image is for the style of the page to say.
        self._styled(MaskStyle(), "solid" if self.mode == "image" else self.mode)

    @classmethod
    def of(cls, style: MaskStyle) -> Look:
        """The look of a style."""
        return cls(
            mode=style.mode,
            shape=style.shape,
            expand=style.expand,
            cells=style.cells,
            feather=style.feather,
            colour="#{:02x}{:02x}{:02x}".format(*style.color),
        )

    def style(self, base: MaskStyle) -> MaskStyle:
        """A style that looks so.

        Args:
            base: Gives the image for "image".

        Raises:
            InputError: It gives none.
        """
        return self._styled(base, self.mode)

    def _styled(self, base: MaskStyle, mode: MaskMode) -> MaskStyle:
        red, green, blue = bytes.fromhex(self.colour[1:])
        return dataclasses.replace(
            base,
            mode=mode,
            shape=self.shape,
            expand=self.expand,
            cells=self.cells,
            feather=self.feather,
            color=(red, green, blue),
        )


@dataclass(frozen=True, kw_only=True)
class Sound:
    """What becomes of the sound of a video.

    Attributes:
        audio: "keep" or "drop", all of it.
        muted: Parts of it that are silent, or a tone, instead; none where all is dropped.

    Raises:
        InputError: They contradict each other, or there are more than anybody wants.
    """

    audio: Literal["keep", "drop"] = "keep"
    muted: tuple[SoundSpan, ...] = ()

    def __post_init__(self) -> None:
        """Check that it can be done."""
        if len(self.muted) > _MOST_SPANS:
            raise InputError(f"there are more than {_MOST_SPANS} parts of the sound")
        self.options()

    def options(self) -> VideoOptions:
        """How a video with this sound is written."""
        return VideoOptions(audio=self.audio, muted=self.muted)


def offered(style: MaskStyle) -> dict[str, Any]:
    """What somebody may choose from, and what masks look like if nobody does, for the page."""
    modes: list[MaskMode] = ["veil", "solid", "blur", "pixelate"]
    if style.overlay is not None:
        modes.append("image")
    return {"look": dataclasses.asdict(Look.of(style)), "modes": modes, "most_cells": MAX_CELLS}
