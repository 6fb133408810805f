"""Draw masks on a decoded video frame where it lies: on its own planes, at its own depth.

A frame outside the masked faces goes to the encoder bit by bit as it was decoded; nothing is
converted to RGB and back.
"""

from __future__ import annotations

import re
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from faceblur.errors import InputError
from faceblur.image.pixels import Array, Plane, RgbImage
from faceblur.video.frames import spans_all_values

# Luma weights of red and blue by AVColorSpace; ITU-T H.273, table 4.
_WEIGHTS: Final[dict[int, tuple[float, float]]] = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020
    10: (0.2627, 0.0593),
}
_BT709: Final = 1
_BT601: Final = 6
HD_HEIGHT: Final = 720

_DRAWABLE = re.compile(r"(yuvj?(420|422|440|444|411|410)|gray|gbr)p?(9|10|12|14|16)?(le)?")
_DRAWABLE_WITH_ALPHA = re.compile(r"(yuva(420|422|444)|gbra)p(9|10|12|14|16)?(le)?")
_SAME_SAMPLES: Final = {
    **dict.fromkeys(("nv12", "nv21"), "yuv420p"),
    **dict.fromkeys(("nv16", "yuyv422", "uyvy422", "yvyu422"), "yuv422p"),
    "nv24": "yuv444p",
    "p010le": "yuv420p10le",
    "p016le": "yuv420p16le",
    **dict.fromkeys(("p210le", "y210le"), "yuv422p10le"),
    "ya8": "gray",
    "ya16le": "gray16le",
}


def drawable_format(name: str) -> str:
    """The pixel format to draw on, for frames of a given one.

    Planar YUV, grey and planar RGB of 8 to 16 bits are drawn on as they are. Other layouts of
    the same samples (nv12, yuyv422, …) are laid out in planes, big-endian ones swapped, and
    transparency is dropped, all without loss. Packed RGB, palettes and the rest become planar
    RGB of the same depth.
    """
    if _DRAWABLE.fullmatch(name):
        return name
    if name in _SAME_SAMPLES:
        return _SAME_SAMPLES[name]
    plain = name.replace("yuva", "yuv").replace("gbrap", "gbrp")
    plain = re.sub("be$", "le", plain)
    if _DRAWABLE.fullmatch(plain):
        return plain
    bits = max(component.bits for component in av.VideoFormat(name, 16, 16).components)
    deep = next((depth for depth in (8, 10, 12, 14) if bits <= depth), 16)
    return "gbrp" if deep == 8 else f"gbrp{deep}le"


def color_matrix(frame: av.VideoFrame) -> int:
    """The AVColorSpace of a frame, with the customary guess where it does not say."""
    if frame.colorspace in _WEIGHTS:
        return int(frame.colorspace)
    return _BT709 if frame.height >= HD_HEIGHT else _BT601


def is_full_range(frame: av.VideoFrame) -> bool:
    """Whether samples span all values, or leave room at both ends as television does."""
    return spans_all_values(frame.color_range, frame.format.name)


class VideoSurface:
    """A decoded frame that is masked in place (see `faceblur.masks.surface.Surface`).

    The decoder may still need the frame as a reference for later ones, so the frame's samples
    are copied first if anybody else holds them.
    """

    def __init__(self, frame: av.VideoFrame) -> None:
        """Wrap a frame.

        Raises:
            InputError: `drawable_format` does not leave its format as it is, nor is it such a one
                with transparency in a plane of its own.
        """
        name = frame.format.name
        transparent = bool(_DRAWABLE_WITH_ALPHA.fullmatch(name))
        if not transparent and not _DRAWABLE.fullmatch(name):
            raise InputError(f"cannot mask frames in pixel format {name}: convert them first")
        frame.make_writable()
        self._frame = frame
        self._bits = frame.format.components[0].bits
        self.width, self.height = frame.width, frame.height
        self.all_planes = tuple(_plane(frame, plane, self._bits) for plane in frame.planes)
        """Y, U, V, or Y alone, or G, B, R; then transparency, if there is any."""
        self.alpha = self.all_planes[-1] if transparent else None
        self.planes = self.all_planes[:-1] if transparent else self.all_planes
        self.peak = (1 << self._bits) - 1
        """The largest value of a sample."""

    def encode(self, image: RgbImage) -> list[Array]:
        """Put a part of a frame into this frame's matrix, range and depth."""
        bgr = image.astype(np.float32) / 255
        if self._frame.format.is_rgb:
            samples = [bgr[:, :, channel] * self.peak for channel in (1, 0, 2)]
        else:
            samples = self._ycbcr(bgr)[: len(self.planes)]
        return [
            self._quantise(subsample(sample, plane))
            for sample, plane in zip(samples, self.planes, strict=True)
        ]

    def make_opaque(self, rows: slice, columns: slice, where: Array | None) -> None:
        """Take away transparency (see `Surface.make_opaque`)."""
        if self.alpha is not None:
            alpha = self.alpha.pixels[rows, columns]
            alpha[... if where is None else where] = self.peak

    def _ycbcr(self, bgr: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Y, Cb, Cr in units of the samples; ITU-T H.273, section 8.3."""
        red, blue = _WEIGHTS[color_matrix(self._frame)]
        luma = bgr @ np.array([blue, 1 - red - blue, red], np.float32)
        cb = (bgr[:, :, 0] - luma) / (2 * (1 - blue))
        cr = (bgr[:, :, 2] - luma) / (2 * (1 - red))
        middle = 1 << (self._bits - 1)
        if is_full_range(self._frame):
            return [luma * self.peak, cb * self.peak + middle, cr * self.peak + middle]
        unit = 1 << (self._bits - 8)
        return [(luma * 219 + 16) * unit, cb * 224 * unit + middle, cr * 224 * unit + middle]

    def _quantise(self, samples: Array) -> Array:
        dtype = np.uint8 if self._bits == 8 else np.uint16
        return np.clip(np.rint(samples), 0, self.peak).astype(dtype)


def _plane(frame: av.VideoFrame, plane: av.video.plane.VideoPlane, bits: int) -> Plane:
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
    samples = rows[:, : plane.width]
    step_x, step_y = _step(frame.width, plane.width), _step(frame.height, plane.height)
    return Plane(samples, step_x=step_x, step_y=step_y)


def _step(pixels: int, samples: int) -> int:
    """1, 2 or 4: chroma sizes are rounded up, so a plain quotient would not do."""
    return next(step for step in (1, 2, 4) if -(-pixels // step) == samples)


def subsample(samples: npt.NDArray[np.float32], plane: Plane) -> npt.NDArray[np.float32]:
    """Average what falls into one sample of the plane; the edges repeat beyond the frame."""
    if plane.step_x == plane.step_y == 1:
        return samples
    height, width = samples.shape
    below = -height % plane.step_y
    right = -width % plane.step_x
    whole = samples
    if below or right:
        whole = np.pad(samples, ((0, below), (0, right)), mode="edge")
    size = (whole.shape[1] // plane.step_x, whole.shape[0] // plane.step_y)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)
