"""The addresses with which cameras of the network are searched for, and asked for their streams."""

from __future__ import annotations

import secrets
import threading
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from faceblur.errors import InputError
from faceblur.live.discovery import find_cameras, streams_of
from faceblur.web.answers import missing
from faceblur.web.cameras.wall import Wall
from faceblur.web.cameras.wall_routes import answer, limited_body, texts_of


def found_routes(wall: Wall | None) -> list[Route]:
    """The addresses; none without a file that cameras can be added to."""
    if wall is None:
        return []
    routes = _Routes()
    return [
        Route("/api/cameras/found", routes.search, methods=["POST"]),
        Route("/api/cameras/found/{id}", routes.ask, methods=["POST"]),
    ]


class _Routes:
    def __init__(self) -> None:
        self._searching = threading.Lock()
        self._services: dict[str, str] = {}

    async def search(self, request: Request) -> Response:
        """Search, which takes some seconds."""

        def searched() -> list[dict[str, Any]]:
            # Those who ask meanwhile wait for a search of their own.
            with self._searching:
                found = {secrets.token_urlsafe(8): each for each in find_cameras()}
                self._services = {name: each.service for name, each in found.items()}
            return [
                {"id": name, "name": each.name, "host": each.host} for name, each in found.items()
            ]

        if not request.state.is_page:
            return missing()
        done = await answer(searched)
        return done if isinstance(done, Response) else JSONResponse({"cameras": done})

    async def ask(self, request: Request) -> Response:
        """Ask one that was found for its streams, with a user and a password."""
        body = await limited_body(request)

        def asked() -> list[dict[str, Any]]:
            user, password = texts_of(body, "user", "password")
            # Only who was found is asked: nobody is sent elsewhere with a password.
            service = self._services.get(request.path_params["id"])
            if service is None:
                raise InputError("it is not among those that were found: search again")
            return [asdict(stream) for stream in streams_of(service, user, password)]

        if not request.state.is_page:
            return missing()
        done = await answer(asked)
        return done if isinstance(done, Response) else JSONResponse({"streams": done})
