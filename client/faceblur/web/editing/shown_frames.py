"""Frames of a file, of the original and of results, as they are shown to whoever corrects it.

An original frame shows whoever is in it, to the one who uploaded it. It is read when it is asked
for, and held in memory alone, with its file.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import MediaDetections
from faceblur.errors import InputError
from faceblur.image.jpeg import jpeg
from faceblur.image.pixels import BgrImage
from faceblur.image.stills import page_starts, page_stills
from faceblur.video.key_frames import find_key_frames
from faceblur.video.stills import stills
from faceblur.web.jobs.edits import seconds_of
from faceblur.web.jobs.frame_cache import FrameCache
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.results import Result

_AROUND: Final = 6
"""Frames before and behind the one that is asked for, which are likely to be next."""
_LONGEST: Final = 1600
"""Side of what is shown, pixels."""
QUALITY: Final = 90
"""Of what is shown, as JPEG."""
_ODD_PX: Final = 4
"""By how much encoders enlarge images that they cannot hold."""

UNREADABLE: Final = "the frame cannot be read"


def frame_image(
    job: WebJob, result: Result | None, index: int, *, check_going: Callable[[], None]
) -> bytes:
    """A frame as JPEG, reduced, and kept for whoever asks next.

    Args:
        job: It has findings.
        result: Whose frame; None for the original's.
        index: Which one.
        check_going: Raises StoppedError when the program ends.

    Raises:
        FaceblurError: It cannot be read.
        StoppedError: The program ends, or the file was deleted.
    """
    findings, source, frames = job.findings, job.source, job.frames
    if findings is None or source is None:
        raise StoppedError("deleted")
    number = 0 if result is None else result.number
    path = source if result is None else result.output
    report = findings.report

    def check() -> None:
        check_going()
        # What has failed goes at once, as what was deleted does.
        if job.deleted or job.source is None:
            raise StoppedError("deleted")

    with frames.lock:
        check()
        image = frames.find(number, index)
        if image is not None:
            return image
        count = len(report.frames)
        wanted = range(max(0, index - _AROUND), max(1, min(count, index + _AROUND + 1)))
        if job.kind == "image":
            images = _pages(path, report, wanted, frames, number, check)
        else:
            times = seconds_of(report, from_start=False)
            if number not in frames.keys:
                frames.keys[number] = find_key_frames(path, times, on_packet=check)
            images = stills(path, times, wanted, keys=frames.keys[number], on_frame=check)
        for place, pixels in images.items():
            reduced = _reduced(pixels, findings.size_of(place), findings.pixel_aspect)
            frames.add(number, place, reduced)
        image = frames.find(number, index)
        if image is None:
            raise InputError(UNREADABLE)
        return image


def _pages(
    path: Path,
    report: MediaDetections,
    wanted: range,
    frames: FrameCache,
    number: int,
    check: Callable[[], None],
) -> dict[int, BgrImage]:
    """Pages of an original, or of a result, in which several may have become one."""
    if number not in frames.places:
        frames.places[number] = _places(path, report) if number else ()
    places = frames.places[number] or range(len(report.frames) or 1)
    here = [places[place] for place in wanted]
    read = page_stills(path, range(here[0], here[-1] + 1), on_page=check)
    pairs = zip(wanted, here, strict=True)
    return {place: read[page] for place, page in pairs if page in read}


def _places(path: Path, report: MediaDetections) -> Sequence[int]:
    """Which page of a result shows each of its source; empty where each shows its own."""
    if len(report.frames) < 2:
        return ()
    # Writers of animations merge frames that have become the same.
    starts = page_starts(path)
    if len(starts) == len(report.frames):
        return ()
    tolerance_s = Fraction(1, 200)
    return [bisect_right(starts, at + tolerance_s) - 1 for at in seconds_of(report)]


def shown_size(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Width and height, square pixels, in which a frame of a size in pixels is shown."""
    across, down = max(1.0, float(pixel_aspect)), max(1.0, float(1 / pixel_aspect))
    scale = min(1.0, _LONGEST / max(width * across, height * down))
    return max(1, round(width * across * scale)), max(1, round(height * down * scale))


def _reduced(pixels: BgrImage, size: tuple[int, int], pixel_aspect: Fraction) -> bytes:
    """A frame of a size in pixels, reduced to pixels that are square.

    The encoder may have added rows and columns.
    """
    width, height = size
    if 0 <= pixels.shape[1] - width < _ODD_PX and 0 <= pixels.shape[0] - height < _ODD_PX:
        pixels = pixels[:height, :width]
    shown = shown_size(width, height, pixel_aspect)
    if shown != (pixels.shape[1], pixels.shape[0]):
        pixels = np.asarray(cv2.resize(pixels, shown, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(pixels, quality=QUALITY)
