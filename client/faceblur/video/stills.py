"""Single frames of a video, each by its exact place, without reading all that is before it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import av
import numpy as np

from faceblur.image.pixels import BgrImage
from faceblur.video.frames import SourceFrame
from faceblur.video.opening import open_container
from faceblur.video.orientation import Orientation
from faceblur.video.source import VideoSource, main_stream

_SEEKABLE: Final = frozenset({"mov", "mp4", "matroska", "webm"})
"""Containers in which every frame has its time, and one clock holds throughout."""

_REORDERED: Final = 16
"""Frames by which a codec may change the order, at most."""

_SAME_S: Final = Fraction(2, 1000)
"""Matroska rounds times to 1 ms."""


def stills(
    path: Path,
    times: Sequence[Fraction],
    wanted: range,
    *,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[int, BgrImage]:
    """Some frames of a video that follow each other.

    Decoding begins at the last key frame before them, if all frames from there on are at the times
    that are known; else at the start of the file, by counting.

    Args:
        path: The video.
        times: Of all its frames, as its clock counts them, seconds, rising.
        wanted: Places among them.
        on_frame: Called for each frame that is decoded; what it raises breaks this off.

    Returns:
        Of each place its frame, (H, W, 3) uint8 BGR, upright; of the last ones none, where the
        file ends before them.

    Raises:
        InputError: The video cannot be read.
    """
    # Some containers seek by decoding times, which are earlier: so the key frame may come too late.
    for lead in (0, _REORDERED):
        found = _from_key_frame(path, times, wanted, lead, on_frame)
        if found is not None:
            return found
    return _counted(path, wanted, on_frame)


def _from_key_frame(
    path: Path, times: Sequence[Fraction], wanted: range, lead: int, on_frame: Callable[[], None]
) -> dict[int, BgrImage] | None:
    """The frames, sought some before the first; None if what is decoded is not surely them."""
    with open_container(path) as container:
        stream = main_stream(container, path)
        if not _SEEKABLE & {*container.format.name.split(",")} or stream.time_base is None:
            return None
        found: dict[int, BgrImage] = {}
        last: int | None = None
        try:
            to_s = times[max(0, wanted.start - lead)]
            container.seek(int(to_s / stream.time_base), stream=stream)
            for frame in _from_first_key(container.decode(stream)):
                place = _place(frame, stream.time_base, times)
                if place is None or (place > wanted.start if last is None else place != last + 1):
                    return None
                on_frame()
                last = place
                if place in wanted:
                    found[place] = Orientation.of(frame).turn(_pixels(frame))
                if place == wanted.stop - 1:
                    return found
        except (av.error.FFmpegError, EOFError, ValueError):
            pass
    return None


def _from_first_key(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Leave out what comes before the first key frame: it needs frames from before the seek."""
    begun = False
    for frame in frames:
        begun = begun or frame.key_frame
        if begun:
            yield frame


def _place(frame: av.VideoFrame, base: Fraction, times: Sequence[Fraction]) -> int | None:
    """Which of the known times a frame has."""
    if frame.pts is None or frame.is_corrupt:
        return None
    time_s = frame.pts * base
    after = bisect_left(times, time_s)
    near = [i for i in (after - 1, after) if 0 <= i < len(times)]
    nearest = min(near, key=lambda i: abs(times[i] - time_s))
    return nearest if abs(times[nearest] - time_s) <= _SAME_S else None


def _counted(path: Path, wanted: range, on_frame: Callable[[], None]) -> dict[int, BgrImage]:
    found = {}
    with VideoSource(path) as video:
        frames = (item for item in video.read() if isinstance(item, SourceFrame))
        for frame in islice(frames, wanted.stop):
            on_frame()
            if frame.index in wanted:
                found[frame.index] = _pixels(frame.image)
    return found


def _pixels(image: av.VideoFrame) -> BgrImage:
    return np.asarray(image.to_ndarray(format="bgr24"), np.uint8)
