"""Small images of video frames, as the detector wants them."""

from __future__ import annotations

import dataclasses
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from faceblur.detection.letterbox import Letterbox
from faceblur.video.frames import SCALER_THREADS, VideoProperties
from faceblur.video.surface import color_matrix, is_full_range

_ITU601: Final = 5
_MATRICES: Final = {1: 1, 4: 4, 7: 7, 9: 9, 10: 9}
"""SWS_CS_* by AVColorSpace; older PyAV has no names for all of them."""

_PQ: Final = 16
_SDR_WHITE_NITS: Final = 203.0
"""Diffuse white of an HDR image; ITU-R BT.2408."""


def plan_model_input(source: VideoProperties, *, size: int, stride: int) -> Letterbox:
    """Plan canvases on which faces have their natural shape, whatever the pixels' shape is."""
    aspect = source.sample_aspect_ratio or 1
    shown = Letterbox.plan(
        max(1, round(source.width * aspect)), source.height, size=size, stride=stride
    )
    return dataclasses.replace(shown, source=(source.width, source.height))


class ModelInputMaker:
    """Makes a canvas of each frame of one video, by one thread at a time.

    The frame is never converted at its full size: it is reduced as it is, and what is left is
    converted to RGB.
    """

    def __init__(self, source: VideoProperties, letterbox: Letterbox) -> None:
        self._letterbox = letterbox
        self._reducer = VideoReformatter()
        self._converter = VideoReformatter()
        self._curve = _pq_to_sdr() if source.color_transfer == _PQ else None
        shrinks = source.width > 2 * letterbox.resized[0]
        self._interpolation = Interpolation.AREA if shrinks else Interpolation.BILINEAR

    def __call__(self, image: av.VideoFrame) -> npt.NDArray[np.uint8]:
        """The canvas of a frame, uint8 [H, W, 3] RGB."""
        width, height = self._letterbox.resized
        range_ = ColorRange.JPEG if is_full_range(image) else ColorRange.MPEG
        matrix = _MATRICES.get(color_matrix(image), _ITU601)
        small = image
        if len(image.planes) > 1 and not image.format.is_rgb:
            # swscale reduces each plane by itself several times faster than into RGB.
            small = self._reducer.reformat(
                image,
                width,
                height,
                "yuv420p",
                src_color_range=range_,
                dst_color_range=range_,
                interpolation=self._interpolation,
                threads=SCALER_THREADS,
            )
        small = self._converter.reformat(
            small,
            width,
            height,
            "rgb24",
            src_colorspace=matrix,
            src_color_range=range_,
            dst_color_range=ColorRange.JPEG,
            interpolation=self._interpolation,
            threads=SCALER_THREADS,
        )
        pixels = np.asarray(small.to_ndarray(), np.uint8)
        if self._curve is not None:
            pixels = np.take(self._curve, pixels)
        return self._letterbox.apply(pixels)


def _pq_to_sdr() -> npt.NDArray[np.uint8]:
    """Turn PQ values into what a common display would be sent (SMPTE ST 2084, inverse EOTF).

    Detectors have seen ordinary images; one in PQ looks pale and dark to them.
    """
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    signal = (np.arange(256) / 255) ** (1 / m2)
    nits = 10_000 * (np.maximum(signal - c1, 0) / (c2 - c3 * signal)) ** (1 / m1)
    display = np.clip(nits / _SDR_WHITE_NITS, 0, 1) ** (1 / 2.2)
    curve: npt.NDArray[np.uint8] = np.rint(255 * display).astype(np.uint8)
    return curve
