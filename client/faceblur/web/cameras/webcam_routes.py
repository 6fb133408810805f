"""The page of the computer's own camera, and the addresses with which it has its images masked.

Images come as JPEG and go back as JPEG, masked; they are in memory alone, and nothing is recorded.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from faceblur.errors import FaceblurError, InputError
from faceblur.live.options import DEFAULT_LOOKAHEAD
from faceblur.masks.policy import Policy
from faceblur.web.access import HEADERS, Access
from faceblur.web.answers import LONE, missing, number_of, owner_of, refused
from faceblur.web.cameras.webcam import DEADLINE_S, Webcam
from faceblur.web.jobs.detectors import Detectors

SILENCE_S: Final = 30.0
"""A camera of which no image has come for so long is ended: its page is gone."""

_MOST: Final = 2
_MOST_BYTES: Final = 4 << 20
_PAGE: Final = Path(__file__).parents[1] / "static" / "camera.html"
_MARGIN_S: Final = 1.0
_LONGEST_S: Final = 2 * (DEADLINE_S + _MARGIN_S)
"""No image is held for longer, whatever happens; the page gives up before."""


@dataclass(frozen=True, eq=False)
class _Open:
    owner: str
    webcam: Webcam


class Webcams:
    """The cameras of all browsers; safe to use from threads, and a context manager."""

    def __init__(self, detectors: Detectors, policy: Policy) -> None:
        self._detectors = detectors
        self._policy = policy
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def open(self, owner: str, *, lookahead: int) -> str:
        """Begin with a camera, once there is a detector; its id.

        Raises:
            InputError: There are enough cameras, or the settings are none for a camera.
            ServerError: There is no detector.
        """
        session = self._detectors.lasting_session()
        with self._lock:
            if self._stop.is_set() or len(self._open) >= _MOST:
                raise InputError("another page uses the camera: stop it there first")
            name = secrets.token_urlsafe(16)
            webcam = Webcam(self._policy, session, lookahead=lookahead)
            self._open[name] = _Open(owner, webcam)
            return name

    def find(self, owner: str, name: str) -> Webcam | None:
        """The camera of that id, if it is this visitor's and goes on."""
        with self._lock:
            found = self._open.get(name)
        if found is None or found.owner != owner or found.webcam.ended:
            return None
        return found.webcam

    def end(self, owner: str, name: str) -> None:
        """End one."""
        with self._lock:
            found = self._open.get(name)
            if found is None or found.owner != owner:
                return
            del self._open[name]
        found.webcam.close()

    def sweep(self) -> None:
        """End those that nobody uses any more."""
        now_s = time.monotonic()
        with self._lock:
            gone = {
                name: each
                for name, each in self._open.items()
                if each.webcam.ended or now_s - each.webcam.asked_s > SILENCE_S
            }
        for name, each in gone.items():
            self.end(each.owner, name)

    def __enter__(self) -> Webcams:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        with self._lock:
            left, self._open = list(self._open.values()), {}
        for each in left:
            each.webcam.close()


def webcam_routes(webcams: Webcams, access: Access) -> list[Route]:
    """The addresses."""
    routes = _Routes(webcams, access)
    return [
        Route("/camera", routes.page),
        Route("/api/camera", routes.begin, methods=["POST"]),
        Route("/api/camera/{id}", routes.end, methods=["DELETE"]),
        Route("/api/camera/{id}/images", routes.take, methods=["POST"]),
    ]


class _Routes:
    def __init__(self, webcams: Webcams, access: Access) -> None:
        self._webcams = webcams
        self._access = access

    async def page(self, request: Request) -> Response:
        """The page; it alone may ask for the camera."""
        if self._access.session_of(request) is None:
            sentence = "Open the address that faceblur web has printed.\n"
            return PlainTextResponse(sentence, status_code=403)
        policy = HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)")
        return FileResponse(_PAGE, headers={"Permissions-Policy": policy})

    async def begin(self, request: Request) -> Response:
        """Begin with a camera."""
        quick = request.query_params.get("quick") == "yes"
        lookahead = 0 if quick else DEFAULT_LOOKAHEAD
        try:
            name = await asyncio.to_thread(
                self._webcams.open, owner_of(request), lookahead=lookahead
            )
        except InputError as refusal:
            return refused(409, str(refusal))
        except FaceblurError as error:
            return refused(503, str(error))
        return JSONResponse({"id": name, "deadline_s": DEADLINE_S + _MARGIN_S}, 201)

    async def end(self, request: Request) -> Response:
        """End it."""
        name = request.path_params["id"]
        await asyncio.to_thread(self._webcams.end, owner_of(request), name)
        return Response(status_code=204)

    async def take(self, request: Request) -> Response:
        """Take one image, and answer with the masked one that is due.

        204 where none is due, as while the look-ahead fills; 503 where none may be shown.
        """
        webcam = self._webcams.find(owner_of(request), request.path_params["id"])
        if webcam is None:
            return missing()
        number = number_of(request.query_params.get("number", ""))
        if number is None:
            return refused(422, "say which image it is: number=0, 1, 2 …")
        data = b""
        try:
            async for part in request.stream():
                data += part
                if len(data) > _MOST_BYTES:
                    return refused(413, f"an image has at most {_MOST_BYTES >> 20} MB")
            asked = asyncio.wrap_future(webcam.offer(number, data))
            answer = await asyncio.wait_for(asked, _LONGEST_S)
        except asyncio.TimeoutError:
            return refused(503, "nobody answers")
        except InputError as mistake:
            return refused(422, str(mistake))
        if answer.withheld:
            return refused(503, answer.withheld)
        if answer.image is None:
            return Response(status_code=204)
        headers = {"X-Faces": str(answer.faces), "X-Behind": f"{answer.behind_s:.3f}"}
        return Response(answer.image, media_type="image/jpeg", headers={**LONE, **headers})
