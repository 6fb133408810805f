"""Whom somebody has chosen to leave unmasked: tracks of a JSON file."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Final, Literal

from faceblur.errors import InputError

Effect = Literal["keep-visible", "only"]

_MOST: Final = 100_000
_EXAMPLE: Final = "give tracks of the JSON file, such as 3,7 or 3,7-9"


@dataclass(frozen=True)
class TrackChoice:
    """Some tracks of one video, and what is to become of them.

    Attributes:
        effect: "keep-visible" leaves these unmasked, "only" all others; where it is not certain
            that they are, they are masked all the same.
        tracks: Their ids.
    """

    effect: Effect
    tracks: frozenset[int]

    @classmethod
    def parse(cls, effect: Effect, text: str) -> TrackChoice:
        """Read the value of --keep-visible or --only.

        Raises:
            InputError: It is no list of tracks.
        """
        found: set[int] = set()
        for part in text.split(","):
            match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
            if match is None:
                raise InputError(f"{text!r} is no list of tracks for --{effect}: {_EXAMPLE}")
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last or last - first >= _MOST:
                raise InputError(f"{part.strip()} is no track or range of tracks: {_EXAMPLE}")
            found.update(range(first, last + 1))
        return cls(effect, frozenset(found))

    def kept(self, known: Set[int], where: str) -> frozenset[int]:
        """The tracks that may be left unmasked.

        Args:
            known: All tracks of the video.
            where: What says so.

        Raises:
            InputError: There are none, or not those that were chosen.
        """
        if not known:
            raise InputError(
                f"{where} has no tracks for --{self.effect}: make it again from the video, with "
                "faceblur people and without --no-cover"
            )
        unknown = sorted(self.tracks - known)
        if unknown:
            raise InputError(
                f"{where} has no track {unknown[0]}: it has {min(known)} to {max(known)}; choose "
                "from the page that faceblur people makes of it"
            )
        return self.tracks if self.effect == "keep-visible" else frozenset(known - self.tracks)

    def to_json(self) -> dict[str, Any]:
        """The choice in values that JSON has."""
        return {self.effect.replace("-", "_"): sorted(self.tracks)}
