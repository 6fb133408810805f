"""The address that shows one frame with masks that look otherwise, before anything is made so.

It shows whoever stays visible in the result, to the one who uploaded it; it is drawn when it is
asked for, and nothing of it is kept.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from typing import Final

import cv2
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import Detections, MediaDetections
from faceblur.errors import FaceblurError, InputError
from faceblur.image.jpeg import jpeg
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur.masks.zones import Length, Zone
from faceblur.schema.conversion import from_json
from faceblur.schema.mistakes import MistakesError
from faceblur.times import TimeSpan
from faceblur.web.answers import LONE, job_of, missing, refused
from faceblur.web.editing.frame_routes import in_turn, index_at
from faceblur.web.editing.shown_frames import QUALITY, UNREADABLE, frame_image
from faceblur.web.jobs.edits import seconds_of
from faceblur.web.jobs.job import Findings, WebJob
from faceblur.web.jobs.looks import Look
from faceblur.web.jobs.store import JobStore

_LAST_S: Final = Fraction(1)
"""How long the last frame is taken to be shown: longer than it is, so that more is covered."""

_SHORTEST_S: Final = Fraction(1, 100)
"""The same for frames of an animation that name no time."""


def look_routes(store: JobStore, policy: Policy, *, check_going: Callable[[], None]) -> list[Route]:
    """The address.

    Args:
        store: The files.
        policy: With which results are made.
        check_going: Raises StoppedError when the program ends.
    """
    return [Route("/api/jobs/{id}/look", _Looks(store, policy, check_going).look)]


class _Looks:
    def __init__(self, store: JobStore, policy: Policy, check_going: Callable[[], None]) -> None:
        self._store = store
        self._policy = policy
        self._check_going = check_going

    async def look(self, request: Request) -> Response:
        """The frame that is shown at a time, or of several faces, with a look that is in JSON."""
        job = job_of(self._store, request)
        result = None if job is None else job.result
        findings = None if job is None else job.findings
        if job is None or result is None or findings is None:
            return missing()
        if job.kind == "video" and self._policy.moving.is_on:
            # What is covered because it moves is not known here.
            return missing()
        at = request.query_params.get("at")
        try:
            style = _style(request.query_params.get("look", "{}"), self._policy.mask)
            index = None if at is None else index_at(findings.report, at)
        except InputError as refusal:
            return refused(422, str(refusal))
        try:
            image = await in_turn(
                request, job, lambda: self._drawn(job, findings, result.report, index, style)
            )
        except StoppedError:
            return refused(410, "it was deleted")
        except FaceblurError:
            return refused(422, UNREADABLE)
        return Response(image, media_type="image/jpeg", headers=LONE)

    def _drawn(
        self,
        job: WebJob,
        findings: Findings,
        report: MediaDetections,
        index: int | None,
        style: MaskStyle,
    ) -> bytes:
        index = _fullest(report) if index is None else index
        original = frame_image(job, None, index, check_going=self._check_going)
        pixels = np.asarray(
            cv2.imdecode(np.frombuffer(original, np.uint8), cv2.IMREAD_COLOR), np.uint8
        )
        shown = (pixels.shape[1], pixels.shape[0])
        own = findings.size_of(index)
        if findings.pixel_aspect != 1:
            # Masks are drawn in pixels as the file has them.
            pixels = _resized(pixels, (max(1, round(shown[1] * own[0] / own[1])), shown[1]))
        height, width = pixels.shape[:2]
        zones = _relative(self._policy.zones, own)
        policy = dataclasses.replace(self._policy, zones=zones, min_face=0.0, mask=style)
        # Which faces are covered was decided when the result was made.
        covered = Selection(policy, width, height).choose(Detections.empty(), _shown(report, index))
        faces = report.frames[index].detections.mapped(scale=width / own[0])
        Masker(style).apply(ArraySurface(pixels), faces, covered.areas)
        return jpeg(_resized(pixels, shown), quality=QUALITY)


def _resized(pixels: BgrImage, size: tuple[int, int]) -> BgrImage:
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _style(text: str, base: MaskStyle) -> MaskStyle:
    """The style that a request names.

    Raises:
        InputError: It is none; one sentence.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError('say look={"mode": "solid"}') from error
    try:
        return from_json(value, Look, "the look").style(base)
    except MistakesError as error:
        raise InputError(error.mistakes[0].sentence("the look")) from error


def _relative(zones: tuple[Zone, ...], size: tuple[int, int]) -> tuple[Zone, ...]:
    """Zones of a frame in per cent, which fit it at every size."""
    width, height = size

    def part(length: Length, side: int) -> Length:
        return Length(100 * length.pixels(side) / side, relative=True)

    return tuple(
        dataclasses.replace(
            zone,
            corners=tuple((part(x, width), part(y, height)) for x, y in zone.corners),
        )
        for zone in zones
    )


def _shown(report: MediaDetections, index: int) -> TimeSpan | None:
    """When a frame of a video is shown."""
    times = seconds_of(report)
    if len(times) < 2:
        return None
    if times[0] == times[-1]:
        return None
    end_s = times[index + 1] if index + 1 < len(times) else times[index] + _LAST_S
    return TimeSpan(times[index], max(end_s, times[index] + _SHORTEST_S))


def _fullest(report: MediaDetections) -> int:
    """The first frame with the most covered faces."""
    counts = [len(frame.detections) for frame in report.frames]
    return counts.index(max(counts))
