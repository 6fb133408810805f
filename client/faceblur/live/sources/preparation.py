"""From decoded frames to what is handed over: upright, in one format, with model inputs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Final

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from faceblur.detection.detector import ModelInput
from faceblur.detection.options import Tiles
from faceblur.detection.parts import CloseUps, PartPlan, Rotation
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.live.audio import MAX_BYTES
from faceblur.live.frame_format import Bytes, FrameFormat
from faceblur.live.frames import RawFrame
from faceblur.live.process.shared_frames import SLOT_BYTES
from faceblur.live.sources.readers import DecodedFrame
from faceblur.video.frames import SCALER_THREADS, VideoProperties
from faceblur.video.orientation import Orientation, Turner
from faceblur.video.surface import color_matrix, drawable_format, is_full_range

MAX_PARTS: Final = 8
"""Of one frame, beside the whole: all of them are answered within its deadline."""


def model_input_offset(format_: FrameFormat) -> int:
    """Where in a slot the model input begins, bytes: after the frame, aligned."""
    return -(-format_.size_bytes // 64) * 64


@lru_cache(maxsize=64)
def plan_input(format_: FrameFormat, *, size: int, stride: int, tiles: Tiles) -> PartPlan:
    """How frames go into the model inputs; the same on both sides."""
    whole = plan_model_input(_properties(format_), size=size, stride=stride)
    return PartPlan.of(whole, tiles=tiles)


def _properties(format_: FrameFormat, transfer: int = 2) -> VideoProperties:
    return VideoProperties(
        width=format_.width,
        height=format_.height,
        pixel_format="yuv420p",
        time_base=Fraction(1, 1000),
        sample_aspect_ratio=format_.aspect,
        color_transfer=transfer,
    )


class Preparer:
    """Brings frames of any kind to the form in which they are handed over. One thread's.

    Args:
        size: Longest side of the model input, pixels.
        stride: Of the detector.
        tiles: Whether large frames are searched in parts, too.
    """

    def __init__(self, *, size: int, stride: int, tiles: Tiles) -> None:
        self._size, self._stride, self._tiles = size, stride, tiles
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()
        self._turner = Turner(self._orientation)
        self._input_key: tuple[FrameFormat, int] | None = None
        self._make_input: ModelInputMaker | None = None
        self.rotation = Rotation(0)

    def plan(self, format_: FrameFormat) -> PartPlan:
        """How frames go into the model inputs."""
        return plan_input(format_, size=self._size, stride=self._stride, tiles=self._tiles)

    def upright(self, decoded: DecodedFrame) -> tuple[av.VideoFrame, FrameFormat]:
        """A frame the right way up in yuv420p, and what of it is handed over."""
        image = decoded.image
        orientation = Orientation.of(image)
        if not orientation.upright:
            if orientation != self._orientation:
                self._orientation, self._turner = orientation, Turner(orientation)
            name = drawable_format(image.format.name)
            if name != image.format.name:
                image = self._reformatter.reformat(image, format=name, threads=SCALER_THREADS)
            image = self._turner(image)
        matrix, full_range = color_matrix(image), is_full_range(image)
        if image.format.name not in ("yuv420p", "yuvj420p"):
            image = self._reformatter.reformat(
                image,
                format="yuv420p",
                dst_color_range=2 if full_range else 1,
                threads=SCALER_THREADS,
            )
        return image, FrameFormat(
            # What is over is cut off.
            width=image.width & ~1,
            height=image.height & ~3,
            matrix=matrix,
            full_range=full_range,
            aspect=orientation.aspect(decoded.aspect),
        )

    def model_inputs(
        self, format_: FrameFormat, samples: Bytes, transfer: int, time_s: float
    ) -> tuple[list[ModelInput], tuple[int, ...]]:
        """The model inputs of a frame that lies in memory, and the parts that some of them show."""
        if self._make_input is None or self._input_key != (format_, transfer):
            plan = self.plan(format_)
            properties = _properties(format_, transfer)
            self._make_input = ModelInputMaker(properties, plan.whole, plan.parts)
            self._input_key = (format_, transfer)
            self.rotation = Rotation(len(plan.parts), most=_most_parts(format_, plan))
        parts = self.rotation.take(time_s)
        return self._make_input.whole_and_parts(format_.image(samples), parts), parts

    def raw_frame(self, decoded: DecodedFrame, *, on_release: Callable[[], None]) -> RawFrame:
        """A frame and its model inputs in memory of this process, not of another one."""
        image, format_ = self.upright(decoded)
        samples = np.empty(format_.size_bytes, np.uint8)
        copy(image, format_, samples)
        transfer = image.color_trc or 2
        inputs, parts = self.model_inputs(format_, samples, transfer, decoded.time_s)
        plan = self.plan(format_)
        frame = RawFrame(
            format_,
            samples,
            arrived_s=decoded.arrived_s,
            time_s=decoded.time_s,
            model_input=inputs[0],
            letterbox=plan.whole,
            close_ups=CloseUps(plan, parts, tuple(inputs[1:])) if plan.parts else None,
        )

        def release() -> None:
            self.rotation.put_back(() if frame.is_checked else parts)
            on_release()

        frame.on_release = release
        return frame


def _most_parts(format_: FrameFormat, plan: PartPlan) -> int:
    """Parts of one frame that a slot has room for beside it, and that are answered soon enough."""
    room = SLOT_BYTES - MAX_BYTES - model_input_offset(format_)
    return max(0, min(MAX_PARTS, room // plan.input_bytes - 1))


def copy(image: av.VideoFrame, format_: FrameFormat, memory: Bytes) -> None:
    """Copy the planes one after the other, without the padding of their rows."""
    start = 0
    for plane, step in zip(image.planes, (1, 2, 2), strict=True):
        width, height = format_.width // step, format_.height // step
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
        target = memory[start : start + width * height].reshape(height, width)
        target[:] = rows[:height, :width]
        start += width * height
