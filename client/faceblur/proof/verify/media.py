"""Images, animations and videos as frames to be compared, each with its time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np

from faceblur.detection.detect import detect
from faceblur.detection.detector import Detector
from faceblur.detection.options import DetectionOptions
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections
from faceblur.errors import DeadlineError
from faceblur.image.io import read_image
from faceblur.image.pixels import BgrImage, rgb8
from faceblur.proof.verify.evidence import Grey
from faceblur.proof.verify.judging import settle_crowd
from faceblur.video.frames import SourceFrame
from faceblur.video.kinds import kind_of
from faceblur.video.source import VideoSource

_TICK_S: Final = Fraction(1, 100)
"""Of animations: GIF counts hundredths."""

_PART_OF_INTERVAL: Final = Fraction(45, 100)

_FOR_EVER: Final = Fraction(10**9)

DOUBTFUL: Final = 0.5
"""Part of the threshold, down to which regions are judged too, and reported as doubtful: videos'
faces are tracked down to there."""

Answer = Callable[[], Detections]
"""Gives what was found, when it is there."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame or page.

    Attributes:
        time_s: When it is shown, from the start.
        grey: Its luma.
        until_s: How long it is shown, where it may stand for several of its source, else None.
    """

    index: int
    time_s: Fraction
    grey: Grey
    pixels: Any
    until_s: Fraction | None = None


class Media:
    """A file that is gone through once; a context manager.

    Attributes:
        width: Of the upright frames, pixels.
        tolerance_s: By how much a time may be off.
    """

    path: Path
    width: int
    height: int
    frame_count: int | None
    tolerance_s: Fraction

    def frames(self) -> Iterator[Frame]:
        """The frames, in order."""
        raise NotImplementedError

    def ask(self, frame: Frame, detector: Detector, how: DetectionOptions) -> Answer:
        """Start detecting the faces of a frame."""
        raise NotImplementedError

    def colour(self, frame: Frame) -> BgrImage:
        """A frame in colour, uint8 BGR."""
        raise NotImplementedError

    def __enter__(self) -> Media:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def open_media(path: Path) -> Media:
    """Open an image or a video.

    Raises:
        InputError: It cannot be read.
    """
    return _VideoMedia(path) if kind_of(path) == "video" else _ImageMedia(path)


class _ImageMedia(Media):
    """An image, an animation or a document of several pages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._image = read_image(path)
        self.width, self.height = self._image.width, self._image.height
        self.frame_count: int | None = self._image.page_count
        self.tolerance_s = _TICK_S

    def frames(self) -> Iterator[Frame]:
        for index, page in enumerate(self._image.pages):
            grey = cv2.cvtColor(rgb8(page.pixels), cv2.COLOR_RGB2GRAY)
            time_s, until_s = _milliseconds(page.pts_s), None
            if page.duration_s is not None:
                until_s = time_s + _milliseconds(page.duration_s)
            elif self.frame_count == 1:
                until_s = _FOR_EVER
            yield Frame(index, time_s, np.asarray(grey, np.uint8), page.pixels, until_s)

    def ask(self, frame: Frame, detector: Detector, how: DetectionOptions) -> Answer:
        doubtful = dataclasses.replace(how, threshold=how.threshold * DOUBTFUL)
        faces = settle_crowd(
            detect(detector, frame.pixels, doubtful),
            lambda: detect(detector, frame.pixels, how),
            how.threshold,
        )
        return lambda: faces

    def colour(self, frame: Frame) -> BgrImage:
        return np.asarray(rgb8(frame.pixels)[:, :, ::-1], np.uint8)


class _VideoMedia(Media):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._source = VideoSource(path)
        properties = self._source.properties
        self.width, self.height = properties.width, properties.height
        self.frame_count = self._source.frame_count
        self.tolerance_s = properties.time_base
        if properties.rate:
            self.tolerance_s = min(self.tolerance_s, _PART_OF_INTERVAL / properties.rate)
        self._canvas: tuple[int, ModelInputMaker] | None = None

    def frames(self) -> Iterator[Frame]:
        start_s: Fraction | None = None
        for item in self._source.read():
            if not isinstance(item, SourceFrame):
                continue
            if start_s is None:
                # Where the clock starts anywhere, it may start elsewhere in the output.
                start_s = item.pts_s if self._source.start_s else Fraction(0)
            yield Frame(item.index, item.pts_s - start_s, _luma(item.image), item.image)

    def ask(self, frame: Frame, detector: Detector, how: DetectionOptions) -> Answer:
        letterbox = plan_model_input(
            self._source.properties, size=how.size, stride=detector.model.stride
        )
        if self._canvas is None or self._canvas[0] != how.size:
            self._canvas = (how.size, ModelInputMaker(self._source.properties, letterbox))
        canvas = self._canvas[1](frame.pixels)
        future = detector.submit([canvas], min_score=how.threshold * DOUBTFUL)[0]

        def found(asked: Future[Detections]) -> Detections:
            try:
                return letterbox.to_source(asked.result(how.deadline_s))
            except FutureTimeoutError as error:
                raise DeadlineError(
                    f"no answer within {how.deadline_s:g} s for the frame at "
                    f"{float(frame.time_s):.3f} s"
                ) from error

        def again() -> Detections:
            return found(detector.submit([canvas], min_score=how.threshold)[0])

        return lambda: settle_crowd(found(future), again, how.threshold)

    def colour(self, frame: Frame) -> BgrImage:
        return np.asarray(frame.pixels.to_ndarray(format="bgr24"), np.uint8)

    def __exit__(self, *exc_info: object) -> None:
        self._source.close()


@dataclass(frozen=True, eq=False)
class Pair:
    """What belongs to one time; either side may lack it.

    Attributes:
        since: The source frame from which on the output goes on showing the same; None where it
            has a frame of its own for this time.
    """

    source: Frame | None
    output: Frame | None
    since: Frame | None = None


def pair_frames(
    source: Iterator[Frame], output: Iterator[Frame], tolerance_s: Fraction
) -> Iterator[Pair]:
    """Match frames by their times; both iterators are gone through once, in step."""
    a, b = next(source, None), next(output, None)
    while a is not None or b is not None:
        if a is None or (b is not None and b.time_s < a.time_s - tolerance_s):
            yield Pair(None, b)
            b = next(output, None)
        elif b is None or a.time_s < b.time_s - tolerance_s:
            yield Pair(a, None)
            a = next(source, None)
        else:
            yield Pair(a, b)
            a, b = next(source, None), next(output, None)


def hold_frames(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """Give source frames that lack one of the output the one that is shown then.

    Writers of animations merge frames that have become the same, and add up how long they are
    shown. Whether the source stands still there, too, is not looked at: see `stands_still`.
    """
    last: Pair | None = None
    for pair in pairs:
        source = pair.source
        if pair.output is not None or source is None or last is None or last.output is None:
            last = pair if pair.output is not None else last
            yield pair
            continue
        held, begun = last.output, last.source
        is_shown = held.until_s is not None and source.time_s < held.until_s
        # Neither pages of a document nor frames of a video are ever shown for another.
        if begun is None or begun.until_s is None or not is_shown:
            yield pair
            continue
        yield Pair(source, dataclasses.replace(held, time_s=source.time_s), begun)


def _milliseconds(seconds: float) -> Fraction:
    return Fraction(round(seconds * 1000), 1000)


def _luma(image: av.VideoFrame) -> Grey:
    """The first plane in 8 bits: luma, grey or green."""
    bits = image.format.components[0].bits
    plane = image.planes[0]
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width]
    return np.asarray(rows if bits == 8 else np.right_shift(rows, bits - 8), np.uint8)
