"""Small images of video frames, as the detector wants them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from faceblur.detection.detector import ModelInput
from faceblur.detection.letterbox import Letterbox, stretching
from faceblur.detection.parts import Part
from faceblur.detection.tiling import View
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
    """Makes canvases of each frame of one video, by one thread at a time.

    The frame is never converted at its full size: it is reduced as it is, and what is left is
    converted to RGB.
    """

    def __init__(
        self, source: VideoProperties, letterbox: Letterbox, parts: Sequence[Part] = ()
    ) -> None:
        self._letterbox = letterbox
        self._parts = parts
        curve = _pq_to_sdr() if source.color_transfer == _PQ else None
        self._whole = _Reducer(letterbox, curve)
        # All parts are reduced alike.
        self._part = _Reducer(parts[0].letterbox, curve) if parts else None

    def __call__(self, image: av.VideoFrame) -> ModelInput:
        """The canvas of a frame, uint8 [H, W, 3] RGB."""
        return self._letterbox.apply(self._whole(image, image))

    def whole_and_parts(self, image: av.VideoFrame, turns: Sequence[int]) -> list[ModelInput]:
        """The canvas of a frame, then those of the parts at these positions."""
        whole = self._whole(image, image)
        # A part of plain sky stays plain: the whole decides about the range.
        curve = stretching(whole)
        canvases = [self._letterbox.place(whole, curve)]
        for part in (self._parts[index] for index in turns):
            assert self._part is not None
            canvases.append(part.letterbox.place(self._part(_cut(image, part.view), image), curve))
        return canvases


class _Reducer:
    """Reduces frames of one size, or parts of them, and converts what is left to RGB."""

    def __init__(self, letterbox: Letterbox, curve: npt.NDArray[np.uint8] | None) -> None:
        self._size = letterbox.resized
        self._curve = curve
        self._reducer = VideoReformatter()
        self._converter = VideoReformatter()
        shrinks = letterbox.source[0] > 2 * letterbox.resized[0]
        self._interpolation = Interpolation.AREA if shrinks else Interpolation.BILINEAR

    def __call__(self, image: av.VideoFrame, frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
        """An image, uint8 [h, w, 3]; the frame that it is of says what its samples mean."""
        width, height = self._size
        range_ = ColorRange.JPEG if is_full_range(frame) else ColorRange.MPEG
        matrix = _MATRICES.get(color_matrix(frame), _ITU601)
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
        return pixels if self._curve is None else np.take(self._curve, pixels)


def _cut(image: av.VideoFrame, view: View) -> av.VideoFrame:
    """A copy of a part of a frame, in a format that `VideoSurface` takes."""
    part = av.VideoFrame(view.width, view.height, image.format.name)
    sample = 1 if image.format.components[0].bits == 8 else 2
    for source, target in zip(image.planes, part.planes, strict=True):
        # Chroma sizes are rounded up; parts lie where that makes no difference.
        step_x, step_y = view.width // target.width, view.height // target.height
        rows = np.frombuffer(memoryview(source), np.uint8).reshape(source.height, -1)
        cut = np.frombuffer(memoryview(target), np.uint8).reshape(target.height, -1)
        top, left = view.y // step_y, view.x // step_x * sample
        width = target.width * sample
        cut[:, :width] = rows[top : top + target.height, left : left + width]
    return part


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
