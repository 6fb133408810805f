"""The addresses that show single frames of a file, by their exact times, and what was found there.

An original frame shows whoever is in it, to the one who uploaded it. It is read when it is asked
for, and held in memory alone, with its file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.batch.corrections import Moment
from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import Detections, FrameDetectionsLog, MediaDetections
from faceblur.errors import FaceblurError, InputError
from faceblur.proof.verify.report import Region
from faceblur.tracking.face_table import BoolArray
from faceblur.video.kinds import Kind
from faceblur.web.answers import LONE, job_of, missing, refused
from faceblur.web.editing.shown_frames import UNREADABLE, frame_image
from faceblur.web.jobs.edits import found_before, seconds_of, times_of
from faceblur.web.jobs.job import Findings, WebJob
from faceblur.web.jobs.store import JobStore

_MOST_PLACES: Final = 1000


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
        """When each frame is shown, seconds from the start, the size in pixels, and their shape."""
        job = job_of(self._store, request)
        findings = None if job is None else job.findings
        if job is None or findings is None:
            return missing()
        found = findings.report
        times = await asyncio.to_thread(_times, found)
        return JSONResponse(
            {
                "width": found.width,
                "height": found.height,
                "sizes": [list(size) for size in findings.pages.sizes],
                "pixel_aspect": round(float(findings.pixel_aspect), 6),
                "kind": _kind(job.kind, findings),
                "are_pages": not times_of(found).are_times,
                "times": times,
            }
        )

    async def frame(self, request: Request) -> Response:
        """The frame that is shown at a time, as JPEG: of the original or of the result."""
        job = job_of(self._store, request)
        side = request.query_params.get("side", "masked")
        result = None if job is None else job.result
        findings = None if job is None else job.findings
        if job is None or findings is None:
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
        drawn = _drawn(masked, findings, index)
        faces = [*_faces(masked, drawn), *_faces(shown, None)]
        at = _places_of(result.leaks, findings.report)
        shown_here = zip(at, result.leaks, strict=True)
        leaks = [_rounded(leak.box.tolist()) for place, leak in shown_here if place == index]
        places = sorted(set(at))[:_MOST_PLACES]
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


class UnclearError(InputError):
    """A time that is none."""


def _places_of(leaks: Sequence[Region], found: MediaDetections) -> list[int]:
    """The frames of the original in which the check has found something.

    Of an animation it names those of the result, in which several may have become one.
    """
    times = times_of(found)
    if isinstance(found.frames, FrameDetectionsLog) or not times.are_times:
        return [leak.frame for leak in leaks]
    return [times.index(Moment(leak.time_s), "it") for leak in leaks]


def _kind(kind: Kind, findings: Findings) -> str:
    """What a file is for whoever corrects it: video, animation, document or photo."""
    if kind == "video":
        return "video"
    if len(findings.report.frames) == 1:
        return "photo"
    return "animation" if findings.pages.are_frames else "document"


def index_at(found: MediaDetections, at: str) -> int:
    """The frame that is shown at a time from the start, or that is a page.

    Raises:
        UnclearError: There is none.
    """
    moment = Moment.parse(at)
    if moment is None:
        raise UnclearError("say at=SECONDS, such as at=62.5, or at=page 3")
    try:
        return times_of(found).index(moment, "the frame")
    except InputError as error:
        raise UnclearError(str(error)) from error


def _times(found: MediaDetections) -> list[float]:
    if isinstance(found.frames, FrameDetectionsLog):
        times, *_ = found.frames.columns()
        relative: list[float] = np.round(times - float(found.start_s), 6).tolist()
        return relative
    return [round(float(each), 6) for each in seconds_of(found)]


def _faces(found: Detections, drawn: BoolArray | None) -> list[dict[str, Any]]:
    """Faces for the page: covered ones, of which some are drawn, or those that were left out."""
    drawn_ones = [False] * len(found) if drawn is None else drawn.tolist()
    rows = zip(found.boxes.tolist(), found.tracks.tolist(), drawn_ones, strict=True)
    return [
        {"box": _rounded(box), "track": track, "covered": drawn is not None, "drawn": is_drawn}
        for box, track, is_drawn in rows
    ]


def _drawn(masked: Detections, findings: Findings, index: int) -> BoolArray:
    """Which of the masks of a frame cover nothing that was found: somebody drew them."""
    if isinstance(findings.report.frames, FrameDetectionsLog):
        return np.asarray(masked.tracks == 0, np.bool_)
    return ~found_before(masked, findings.report.frames[index].detections)


def _rounded(box: list[float]) -> list[float]:
    return [round(value, 2) for value in box]
