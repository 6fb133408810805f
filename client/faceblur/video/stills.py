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
from faceblur.video.key_frames import SAME_S, KeyFrames, decoded_from
from faceblur.video.opening import open_container
from faceblur.video.orientation import Orientation
from faceblur.video.source import VideoSource, main_stream

_SEEKABLE: Final = frozenset({"mov", "mp4", "matroska", "webm"})
"""Containers in which every frame has its time, and one clock holds throughout."""

_REORDERED: Final = 16
"""Frames by which a codec may change the order, at most."""


def stills(
    path: Path,
    times: Sequence[Fraction],
    wanted: range,
    *,
    keys: KeyFrames | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[int, BgrImage]:
    """Some frames of a video that follow each other.

    Decoding begins at the last key frame before them, if all frames from there on are at the times
    that are known; else at the start of the file, by counting.

    Args:
        path: The video.
        times: Of all its frames, as its clock counts them, seconds, rising.
        wanted: Places among them.
        keys: Of a file whose container does not say where they are; see `find_key_frames`.
        on_frame: Called for each frame that is decoded; what it raises breaks this off.

    Returns:
        Of each place its frame, (H, W, 3) uint8 BGR, upright; of the last ones none, where the
        file ends before them.

    Raises:
        InputError: The video cannot be read.
    """
    if keys is not None:
        found = _from_known(path, times, wanted, keys, on_frame)
        return _counted(path, wanted, on_frame) if found is None else found
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
        try:
            to_s = times[max(0, wanted.start - lead)]
            container.seek(int(to_s / stream.time_base), stream=stream)
            frames = _from_first_key(container.decode(stream))
            places = ((_place(frame, stream.time_base, times), frame) for frame in frames)
            return _taken(places, range(wanted.start + 1), wanted, on_frame)
        except (av.error.FFmpegError, EOFError, ValueError):
            return None


def _from_known(
    path: Path,
    times: Sequence[Fraction],
    wanted: range,
    keys: KeyFrames,
    on_frame: Callable[[], None],
) -> dict[int, BgrImage] | None:
    """The frames, from a key frame on; None if what is decoded is not surely them."""
    start = keys.before(wanted.start)
    with open_container(path) as container:
        stream = main_stream(container, path)
        if start is None or stream.time_base is None:
            return None
        base, shift_s = stream.time_base, start.shift_s
        # Where a key frame is in another place than its packet says, the next one tells it.
        last = min(len(times), max(wanted.stop, start.place + 2))
        try:
            frames = decoded_from(container, stream, start)
            if frames is None:
                return None
            places = (
                (_place(frame, base, times, shift_s=shift_s), frame)
                for frame in _from_first_key(frames)
            )
            begins = range(start.place, start.place + 1)
            found = _taken(places, begins, range(wanted.start, last), on_frame)
        except (av.error.FFmpegError, EOFError, ValueError):
            return None
    return None if found is None else {at: found[at] for at in wanted if at in found}


def _taken(
    places: Iterator[tuple[int | None, av.VideoFrame]],
    begins: range,
    wanted: range,
    on_frame: Callable[[], None],
) -> dict[int, BgrImage] | None:
    """Frames of those that are decoded; None if they do not follow each other from a place on."""
    found: dict[int, BgrImage] = {}
    last: int | None = None
    for place, frame in places:
        if place is None or (place not in begins if last is None else place != last + 1):
            return None
        on_frame()
        last = place
        if place in wanted:
            found[place] = Orientation.of(frame).turn(_pixels(frame))
        if place == wanted.stop - 1:
            return found
    return None


def _from_first_key(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Leave out what comes before the first key frame: it needs frames from before the seek."""
    begun = False
    for frame in frames:
        begun = begun or frame.key_frame
        if begun:
            yield frame


def _place(
    frame: av.VideoFrame,
    base: Fraction,
    times: Sequence[Fraction],
    *,
    shift_s: Fraction = Fraction(0),
) -> int | None:
    """Which of the known times a frame has."""
    if frame.pts is None or frame.is_corrupt:
        return None
    time_s = frame.pts * base - shift_s
    after = bisect_left(times, time_s)
    near = [i for i in (after - 1, after) if 0 <= i < len(times)]
    nearest = min(near, key=lambda i: abs(times[i] - time_s))
    return nearest if abs(times[nearest] - time_s) <= SAME_S else None


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
