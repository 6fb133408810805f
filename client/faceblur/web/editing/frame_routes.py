"""The addresses that show single frames of a file, by their exact times, and what was found there.

An original frame shows whoever is in it, to the one who uploaded it. It is read when it is asked
for, and held in memory alone, with its file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import Detections, FrameDetectionsLog, MediaDetections
from faceblur.errors import FaceblurError, InputError
from faceblur.image.io import read_image
from faceblur.image.jpeg import jpeg
from faceblur.image.pixels import BgrImage, rgb8
from faceblur.times import parse_time
from faceblur.video.stills import stills
from faceblur.web.answers import LONE, job_of, missing, refused
from faceblur.web.jobs.edits import seconds_of, times_of
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.results import Result
from faceblur.web.jobs.store import JobStore

_AROUND: Final = 6
"""Frames before and behind the one that is asked for, which are likely to be next."""
_LONGEST: Final = 1600
"""Side of what is shown, pixels."""
QUALITY: Final = 90
"""Of what is shown, as JPEG."""
_MOST_PLACES: Final = 1000
_ODD_PX: Final = 4
"""By how much encoders enlarge images that they cannot hold."""


def frame_routes(store: JobStore, *, check_going: Callable[[], None]) -> list[Route]:
    """The addresses.

    Args:
        store: The files.
        check_going: Raises StoppedError when the program ends.
    """
    frames = _Frames(store, check_going)
    return [
        Route("/api/jobs/{id}/frames", frames.times),
        Route("/api/jobs/{id}/frame", frames.frame),
        Route("/api/jobs/{id}/found", frames.found),
    ]


class _Frames:
    def __init__(self, store: JobStore, check_going: Callable[[], None]) -> None:
        self._store = store
        self._check_going = check_going

    async def times(self, request: Request) -> Response:
        """When each frame is shown, seconds from the start, and the size in pixels."""
        job = job_of(self._store, request)
        findings = None if job is None else job.findings
        if findings is None or not findings.corrects:
            return missing()
        found = findings.report
        times = await asyncio.to_thread(_times, found)
        return JSONResponse({"width": found.width, "height": found.height, "times": times})

    async def frame(self, request: Request) -> Response:
        """The frame that is shown at a time, as JPEG: of the original or of the result."""
        job = job_of(self._store, request)
        side = request.query_params.get("side", "masked")
        result = None if job is None else job.result
        findings = None if job is None else job.findings
        if job is None or findings is None or not findings.corrects:
            return missing()
        if side not in ("original", "masked"):
            return refused(422, "say side=original or side=masked")
        if side == "masked" and result is None:
            return missing()
        try:
            index = index_at(findings.report, request.query_params.get("at", ""))
            shown = None if side == "original" else result
            image = await in_turn(
                request,
                job,
                lambda: frame_image(job, shown, index, check_going=self._check_going),
            )
        except StoppedError:
            return refused(410, "it was deleted")
        except FaceblurError as refusal:
            return refused(422, str(refusal) if isinstance(refusal, UnclearError) else UNREADABLE)
        return Response(image, media_type="image/jpeg", headers=LONE)

    async def found(self, request: Request) -> Response:
        """The faces of a frame: what is covered, what was left out, and what may show all the same.

        With the places of all frames in which something may.
        """
        job = job_of(self._store, request)
        result = None if job is None else job.result
        findings = None if job is None else job.findings
        if result is None or findings is None:
            return missing()
        try:
            index = index_at(findings.report, request.query_params.get("at", ""))
        except FaceblurError as refusal:
            return refused(422, str(refusal))
        report = result.report
        masked = report.frames[index].detections
        shown = report.unmasked[index].detections if len(report.unmasked) else Detections.empty()
        faces = [*_faces(masked, covered=True), *_faces(shown, covered=False)]
        leaks = [_rounded(leak.box.tolist()) for leak in result.leaks if leak.frame == index]
        places = sorted({leak.frame for leak in result.leaks})[:_MOST_PLACES]
        found = {"version": result.number, "faces": faces, "leaks": leaks, "places": places}
        return JSONResponse(found)


async def in_turn(request: Request, job: WebJob, work: Callable[[], bytes]) -> bytes:
    """What comes of work on the frames of a file in a thread, of which each file has one.

    Raises:
        StoppedError: Who has asked is gone, as when somebody goes through a video.
    """
    async with job.frames.turn:
        if await request.is_disconnected():
            raise StoppedError("gone")
        return await asyncio.to_thread(work)


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
        if job.kind == "image":
            page = next(read_image(path).pages)
            images = {0: np.asarray(rgb8(page.pixels)[:, :, ::-1], np.uint8)}
        else:
            last = len(report.frames)
            wanted = range(max(0, index - _AROUND), min(last, index + _AROUND + 1))
            times = seconds_of(report, from_start=False)
            images = stills(path, times, wanted, on_frame=check)
        for place, pixels in images.items():
            frames.add(number, place, _reduced(pixels, report.width, report.height))
        image = frames.find(number, index)
        if image is None:
            raise InputError(UNREADABLE)
        return image


class UnclearError(InputError):
    """A time that is none."""


UNREADABLE: Final = "the frame cannot be read"


def index_at(found: MediaDetections, at: str) -> int:
    """The frame that is shown at a time from the start.

    Raises:
        UnclearError: There is none.
    """
    seconds = parse_time(at)
    if seconds is None:
        raise UnclearError("say at=SECONDS, such as at=62.5")
    try:
        return times_of(found).index(seconds, "the frame")
    except InputError as error:
        raise UnclearError(str(error)) from error


def _times(found: MediaDetections) -> list[float]:
    if isinstance(found.frames, FrameDetectionsLog):
        times, *_ = found.frames.columns()
        relative: list[float] = np.round(times - float(found.start_s), 6).tolist()
        return relative
    return [round(float(each), 6) for each in seconds_of(found)]


def _faces(found: Detections, *, covered: bool) -> list[dict[str, Any]]:
    return [
        {"box": _rounded(box), "track": track, "covered": covered}
        for box, track in zip(found.boxes.tolist(), found.tracks.tolist(), strict=True)
    ]


def _rounded(box: list[float]) -> list[float]:
    return [round(value, 2) for value in box]


def _reduced(pixels: BgrImage, width: int, height: int) -> bytes:
    """A frame of a file of a size, reduced; the encoder may have added rows and columns."""
    if 0 <= pixels.shape[1] - width < _ODD_PX and 0 <= pixels.shape[0] - height < _ODD_PX:
        pixels = pixels[:height, :width]
    scale = min(1.0, _LONGEST / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (pixels.shape[1], pixels.shape[0]):
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(pixels, quality=QUALITY)
