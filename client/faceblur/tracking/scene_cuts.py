"""Notice camera cuts, on thumbnails.

A cut that is missed leaves a mask where nobody is; one that is made up ends tracks too early and
may show a face. So only a frame that has little in common with the one before counts.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from faceblur.detections import FloatArray
from faceblur.image.pixels import Array

ROWS: Final = 36
COLUMNS: Final = 64
_FINE: Final = 4
"""Samples that are averaged for a thumbnail's pixel, across and down."""

_MIN_CORRELATION: Final = 0.5
_MIN_CHANGE: Final = 0.04
_FLAT: Final = 0.01


def thumbnail(luma: Array, *, white: float = 255.0) -> FloatArray:
    """A tiny copy of the frame for comparison.

    Args:
        luma: (H, W), brightness in any dtype.
        white: Its largest value.

    Returns:
        At most (36, 64) float32 in 0-1.
    """
    height, width = luma.shape
    rows, columns = min(ROWS, height), min(COLUMNS, width)
    down, across = (max(1, min(_FINE, side // n)) for side, n in ((height, rows), (width, columns)))
    y = np.arange(rows * down) * height // (rows * down)
    x = np.arange(columns * across) * width // (columns * across)
    # Rows first, and rows summed first: many times faster than both at once.
    samples = luma.take(y, axis=0).take(x, axis=1).astype(np.float32)
    lines = samples.reshape(rows, down, columns * across).sum(axis=1)
    sums = lines.reshape(rows, columns, across).sum(axis=2)
    small: FloatArray = sums * np.float32(1 / (down * across * white))
    return small


class CutDetector:
    """Compares each thumbnail with the one before.

    Correlation tells another frame from the same one in another light: neither a flash nor a
    fade is a cut. Where the frames differ, one is shifted over the other to where they fit
    best: a camera that is swept round is not a cut either.
    """

    def __init__(self) -> None:
        self._last: FloatArray | None = None

    def is_cut(self, small: FloatArray) -> bool:
        """Whether a scene begins with this frame."""
        last, self._last = self._last, small
        if last is None:
            return False
        if last.shape != small.shape:
            return True
        if float(np.abs(small - last).mean()) < _MIN_CHANGE * self._contrast(small, last):
            return False
        a, b = last - last.mean(), small - small.mean()
        spread_a, spread_b = float(a.std()), float(b.std())
        if min(spread_a, spread_b) < _FLAT:
            # From or to a blank frame.
            return max(spread_a, spread_b) >= 2 * _FLAT
        alike = _MIN_CORRELATION * spread_a * spread_b
        return float((a * b).mean()) < alike and _best_covariance(a, b) < alike

    @staticmethod
    def _contrast(small: FloatArray, last: FloatArray) -> float:
        return float(max(small.max(), last.max()))


def _best_covariance(a: FloatArray, b: FloatArray) -> float:
    """The largest over all shifts of one frame, wrapped round; by the convolution theorem."""
    product = np.fft.rfft2(a) * np.conj(np.fft.rfft2(b))
    return float(np.fft.irfft2(product, s=a.shape).max()) / a.size
