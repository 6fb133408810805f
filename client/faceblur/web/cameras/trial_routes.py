"""The addresses with which a camera is tried and added."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.errors import FaceblurError
from faceblur.web.answers import missing, number_of, owner_of
from faceblur.web.cameras.wall import Wall
from faceblur.web.cameras.wall_routes import answer, as_image, limited_body, texts_of
from faceblur.web.jobs.detectors import Detectors

_ADDRESS: Final = "/api/cameras/trials"


def trial_routes(wall: Wall | None, detectors: Detectors) -> list[Route]:
    """The addresses; none without a file of cameras."""
    if wall is None:
        return []
    routes = _Routes(wall, detectors)
    return [
        Route(_ADDRESS, routes.begin, methods=["POST"]),
        Route(f"{_ADDRESS}/{{id}}", routes.state, methods=["GET"]),
        Route(f"{_ADDRESS}/{{id}}", routes.end, methods=["DELETE"]),
        Route(f"{_ADDRESS}/{{id}}/image", routes.image),
        Route(f"{_ADDRESS}/{{id}}/save", routes.save, methods=["POST"]),
    ]


class _Routes:
    def __init__(self, wall: Wall, detectors: Detectors) -> None:
        self._wall = wall
        self._trials = wall.trials
        self._detectors = detectors

    async def begin(self, request: Request) -> Response:
        """Try an address, with a user and a password where it needs them."""
        body = await limited_body(request)

        def begun() -> str:
            address, user, password = texts_of(body, "address", "user", "password")
            session = self._detectors.lasting_session()
            return self._trials.begin(owner_of(request), session, address, user, password)

        if not request.state.is_page:
            return missing()
        name = await answer(begun)
        return name if isinstance(name, Response) else JSONResponse({"id": name}, 201)

    async def state(self, request: Request) -> Response:
        """How it goes."""
        trial = self._trials.find(owner_of(request), request.path_params["id"])
        return missing() if trial is None else JSONResponse(trial.to_json())

    async def image(self, request: Request) -> Response:
        """Its newest masked image after a number; 204 if none comes soon."""
        trial = self._trials.find(owner_of(request), request.path_params["id"])
        after = number_of(request.query_params.get("after", "0"))
        if trial is None or after is None:
            return missing()
        shown = await answer(lambda: trial.shown(after))
        return shown if isinstance(shown, Response) else as_image(shown, "")

    async def end(self, request: Request) -> Response:
        """Try it no more."""
        await answer(lambda: self._trials.end(owner_of(request), request.path_params["id"]))
        return Response(status_code=204)

    async def save(self, request: Request) -> Response:
        """Add it to the file, and have a service that runs read that again."""
        body = await limited_body(request)

        def saved() -> dict[str, Any]:
            (called,) = texts_of(body, "name")
            self._trials.save(owner_of(request), request.path_params["id"], called)
            try:
                self._wall.order("reload")
            except FaceblurError:
                return {"is_taken": False}
            return {"is_taken": True}

        done = await answer(saved)
        return done if isinstance(done, Response) else JSONResponse(done, 201)
