"""The page of the cameras of the network, and the addresses beneath it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from faceblur.errors import FaceblurError, InputError
from faceblur.live.service.control import MAX_BYTES, parse_order
from faceblur.web.access import Access
from faceblur.web.answers import LONE, number_of, refused
from faceblur.web.cameras.wall import Wall
from faceblur.web.cameras.watching import Shown

_PAGE: Final = Path(__file__).parents[1] / "static" / "cameras.html"

Value = TypeVar("Value")


def wall_routes(wall: Wall | None, access: Access) -> list[Route]:
    """The addresses; only the page, which says how to begin, without a file of cameras."""
    routes = _Routes(wall, access)
    return [
        Route("/cameras", routes.page),
        Route("/api/cameras", routes.state),
        Route("/api/cameras/orders", routes.order, methods=["POST"]),
        Route("/api/cameras/image", routes.image),
    ]


class _Routes:
    def __init__(self, wall: Wall | None, access: Access) -> None:
        self._wall = wall
        self._access = access

    async def page(self, request: Request) -> Response:
        """The page."""
        if self._access.session_of(request) is None:
            sentence = "Open the address that faceblur web has printed.\n"
            return PlainTextResponse(sentence, status_code=403)
        return FileResponse(_PAGE)

    async def state(self, request: Request) -> Response:
        """How the cameras are."""
        if self._wall is None or not request.state.is_page:
            return JSONResponse({"file": None})
        return JSONResponse(await asyncio.to_thread(self._wall.state))

    async def order(self, request: Request) -> Response:
        """Stop or start a camera, or have the file read again."""
        wall = self._wall
        if wall is None or not request.state.is_page:
            return refused(404, "there are no cameras here")
        body = await limited_body(request)
        answered = await answer(lambda: wall.order(*parse_order(body)))
        return answered if isinstance(answered, Response) else Response(status_code=202)

    async def image(self, request: Request) -> Response:
        """The newest masked image of a camera after a number; 204 if none comes soon."""
        wall = self._wall
        name = request.query_params.get("camera", "")
        after = number_of(request.query_params.get("after", "0"))
        if wall is None or not request.state.is_page or after is None:
            return refused(404, "there is no such camera")
        shown = await answer(lambda: wall.shown(name, after))
        if isinstance(shown, Response):
            return shown
        return as_image(shown, wall.trouble(name))


def as_image(shown: Shown | None, trouble: str) -> Response:
    """A masked image, or why there is none."""
    if shown is None:
        return refused(503, trouble) if trouble else Response(status_code=204)
    headers = {**LONE, "X-Number": str(shown.number), "X-Age": f"{shown.age_s:.0f}"}
    return Response(shown.jpeg, media_type="image/jpeg", headers=headers)


async def limited_body(request: Request) -> bytes:
    """What was sent, as far as anything here reads."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            break
    return body


async def answer(work: Callable[[], Value]) -> Value | Response:
    """What comes of work in a thread, or the refusal that it ends with."""
    try:
        return await asyncio.to_thread(work)
    except InputError as mistake:
        return refused(422, str(mistake))
    except FaceblurError as error:
        return refused(503, str(error))


def texts_of(body: bytes, *names: str) -> list[str]:
    """Named texts of what was sent; empty where one is not there.

    Raises:
        InputError: That is no JSON with texts.
    """
    try:
        said = json.loads(body)
        texts = [said.get(name, "") for name in names]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
    except (ValueError, TypeError, AttributeError, RecursionError) as mistake:
        raise InputError(f"say {', '.join(names)}, each as a text") from mistake
    return texts
