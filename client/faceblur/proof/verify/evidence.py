"""Whether an output still shows what was in a region of its source, or detail where none may be.

A mask takes away the detail of a face: what is finer than its cells. Encoding again takes some of
it too, everywhere alike. So the detail that a region kept is compared with what the rest of the
same image kept: an unmasked face has kept as much as its surroundings, a masked one next to
nothing, however hard the output was compressed.

Detail is what lies between two Gaussian scales, both in proportion to the face, and larger faces
are reduced first: noise and small shifts do not count, the course of the light over the face does
not either. How the figures were chosen is in docs/privacy.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from faceblur.proof.verify.wholes import are_alike

Grey = npt.NDArray[np.uint8]
"""uint8 [H, W]: luma."""

Box = npt.NDArray[np.float32]
"""float32 [4]: x1 y1 x2 y2, pixels."""

_FACE_PX: Final = 64
"""Larger faces are reduced to about this size."""

_FINE: Final = 0.02
_COARSE: Final = 0.10
"""The two scales (standard deviations), as fractions of the face's size: below a mask's cells."""

_FINE_PX: Final = 0.5
_COARSE_PX: Final = 1.2
"""And in pixels, at least."""

_MARGIN: Final = 0.35
_HALF: Final = 0.45
"""Half the ellipse that is compared, as a fraction of the box: where a mask is complete."""

_MIN_PIXELS: Final = 12

SHOWN_CORRELATION: Final = 0.5
SHOWN_PART: Final = 0.5
"""A region is still shown when its detail correlates so well with the source's, and it kept so
much of it as a part of what the rest of the image kept."""

_NEAR: Final = 1.2
_NEAR_CORRELATION: Final = 0.3
"""Or when it differs no more than the rest does: encoding hard leaves little detail anywhere."""

_LEAST_KEPT: Final = 0.2
_MIN_DETAIL: Final = 1.0
"""Grey levels; what has less could be anything."""

_PLAIN_DIFFERENCE: Final = 6.0
FACE_DETAIL: Final = 3.0
"""Grey levels of typical detail in a face that nothing masks; `veil` and `solid` have less."""

FINEST_DETAIL: Final = 1.0
"""And of the finest; the averages that `blur` smooths into each other mostly have less."""

_GRID: Final = 4


@dataclass(frozen=True)
class Comparison:
    """How the detail in a region of the output relates to that of the source.

    Sums over pixels, so that several regions add up.

    Attributes:
        source: Energy of the source's detail.
        output: Energy of the output's.
        both: What they have in common: the sum of products.
        changed: Sum of the absolute differences of the two, unfiltered.
        pixels: How many.
    """

    source: float = 0.0
    output: float = 0.0
    both: float = 0.0
    changed: float = 0.0
    pixels: int = 0

    def __add__(self, other: Comparison) -> Comparison:
        return Comparison(
            self.source + other.source,
            self.output + other.output,
            self.both + other.both,
            self.changed + other.changed,
            self.pixels + other.pixels,
        )

    @property
    def correlation(self) -> float:
        """Of the two details, -1 to 1."""
        return self.both / max(float(np.sqrt(self.source * self.output)), 1e-6)

    @property
    def kept(self) -> float:
        """How much of the source's detail is in the output: 1 all of it, 0 nothing."""
        return self.both / max(self.source, 1e-6)

    @property
    def detail(self) -> float:
        """Of the source, in grey levels (standard deviation)."""
        return float(np.sqrt(self.source / max(1, self.pixels)))

    @property
    def difference(self) -> float:
        """Mean absolute difference, grey levels."""
        return self.changed / max(1, self.pixels)


def compare(source: Grey, output: Grey, box: Box) -> Comparison | None:
    """Compare a region; None where too little of it is in the image."""
    window = _Window.of(box, source.shape[1], source.shape[0])
    if window is None:
        return None
    a, b = window.cut(source), window.cut(output)
    inside = window.inside
    x, y = window.detail(a)[inside], window.detail(b)[inside]
    x, y = x - x.mean(), y - y.mean()
    return Comparison(
        source=float(x @ x),
        output=float(y @ y),
        both=float(x @ y),
        changed=float(np.abs(a - b)[inside].sum()),
        pixels=len(x),
    )


def typical_detail(output: Grey, box: Box) -> tuple[float, float] | None:
    """Detail of a region by itself, grey levels: the median, which edges of blocks do not raise.

    Returns:
        Between the two scales, and of what is finer than a pixel or two of the reduced face. None
        where too little of the region is in the image.
    """
    window = _Window.of(box, output.shape[1], output.shape[0])
    if window is None:
        return None
    part = window.cut(output)
    finest = part - cv2.GaussianBlur(part, (0, 0), 1.0)
    typical, fine = (
        float(np.median(np.abs(detail[window.inside]))) for detail in (window.detail(part), finest)
    )
    return typical, fine


@dataclass(frozen=True, eq=False)
class _Window:
    """A box with a margin, reduced to working size.

    Attributes:
        size: Working width and height.
        face: Size of the face in working pixels.
        inside: Which working pixels lie in the ellipse.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    size: tuple[int, int]
    face: float
    inside: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, box: Box, width: int, height: int) -> _Window | None:
        left, top, right, bottom = (float(value) for value in box)
        across, down = max(right - left, 1.0), max(bottom - top, 1.0)
        x0, y0 = int(max(0, left - _MARGIN * across)), int(max(0, top - _MARGIN * down))
        x1 = int(min(width, np.ceil(right + _MARGIN * across)))
        y1 = int(min(height, np.ceil(bottom + _MARGIN * down)))
        if x1 - x0 < 4 or y1 - y0 < 4:
            return None
        face = float(np.sqrt(across * down))
        scale = min(1.0, _FACE_PX / face)
        size = (max(4, round((x1 - x0) * scale)), max(4, round((y1 - y0) * scale)))
        step_x, step_y = (x1 - x0) / size[0], (y1 - y0) / size[1]
        x = (x0 + (np.arange(size[0]) + 0.5) * step_x - (left + right) / 2) / (across * _HALF)
        y = (y0 + (np.arange(size[1]) + 0.5) * step_y - (top + bottom) / 2) / (down * _HALF)
        inside = np.asarray(np.add.outer(y * y, x * x) <= 1, np.bool_)
        if inside.sum() < _MIN_PIXELS:
            return None
        return cls(x0, y0, x1, y1, size, face * scale, inside)

    def cut(self, image: Grey) -> npt.NDArray[np.float32]:
        part = image[self.y0 : self.y1, self.x0 : self.x1].astype(np.float32)
        if part.shape[1::-1] == self.size:
            return part
        return np.asarray(cv2.resize(part, self.size, interpolation=cv2.INTER_AREA), np.float32)

    def detail(self, part: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        fine = cv2.GaussianBlur(part, (0, 0), max(_FINE_PX, _FINE * self.face))
        coarse = cv2.GaussianBlur(part, (0, 0), max(_COARSE_PX, _COARSE * self.face))
        return np.asarray(fine - coarse, np.float32)


def shows_face(output: Grey, box: Box) -> bool | None:
    """Whether a region has the detail of a face that nothing masks; None if it is too small.

    `veil` and `solid` have none, `blur` of larger faces little. A mask with detail of its own,
    such as `image` and the blocks of `pixelate`, passes for a face.
    """
    detail = typical_detail(output, box)
    if detail is None:
        return None
    return detail[0] >= FACE_DETAIL and detail[1] >= FINEST_DETAIL


class Surroundings:
    """What the rest of an image kept of its detail, for comparison.

    Attributes:
        alike: Whether both show the same, outside the regions in question.
    """

    def __init__(self, source: Grey, output: Grey, taken: npt.NDArray[np.float32]) -> None:
        """Compare the rest of two images.

        Args:
            source: The one.
            output: The other, of the same size.
            taken: (N, 4), what may be masked: x1 y1 x2 y2.
        """
        self._source, self._output, self._taken = source, output, taken
        self._by_octave: dict[int, Comparison] = {}
        self.alike = are_alike(source, output, taken)

    def of(self, box: Box) -> Comparison:
        """What regions as large as a box kept, elsewhere in the image."""
        side = max(float(np.sqrt(np.prod(np.maximum(box[2:] - box[:2], 1)))), 4.0)
        octave = round(float(np.log2(side)))
        if octave not in self._by_octave:
            self._by_octave[octave] = self._sample(2.0**octave)
        return self._by_octave[octave]

    def _sample(self, side: float) -> Comparison:
        height, width = self._source.shape
        total = Comparison()
        for y in np.linspace(0, max(0.0, height - side), _GRID):
            for x in np.linspace(0, max(0.0, width - side), _GRID):
                box = np.array([x, y, x + side, y + side], np.float32)
                if _touches(box, self._taken):
                    continue
                total += compare(self._source, self._output, box) or Comparison()
        return total


def still_shown(region: Comparison, elsewhere: Comparison) -> bool | None:
    """Whether a region shows what it showed in the source; None where it has nothing to show."""
    if region.detail < _MIN_DETAIL:
        return None if region.difference <= _PLAIN_DIFFERENCE else False
    usual = min(1.0, max(_LEAST_KEPT, elsewhere.kept)) if elsewhere.pixels else 1.0
    if region.correlation >= SHOWN_CORRELATION and region.kept >= SHOWN_PART * usual:
        return True
    noise = max(1.0, elsewhere.difference)
    near = bool(elsewhere.pixels) and region.difference <= _NEAR * noise
    return near and region.correlation >= _NEAR_CORRELATION


def _touches(box: Box, others: npt.NDArray[np.float32]) -> bool:
    return bool(((others[:, :2] < box[2:]) & (others[:, 2:] > box[:2])).all(axis=1).any())
