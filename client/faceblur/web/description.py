"""The description of all addresses, as OpenAPI."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Final

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PATH: Final = Path(__file__).with_name("openapi.yaml")
_ANY_REQUEST: Final = {
    "401": "The token is missing, or is another one.",
    "403": "The request comes from another site.",
    "421": "The server is not called so.",
}
"""What any request may be answered, before it is looked at."""


def description_routes() -> list[Route]:
    """The address."""

    async def describe(_: Request) -> Response:
        return JSONResponse(description())

    return [Route("/api/openapi.json", describe)]


@functools.cache
def description() -> dict[str, Any]:
    """The document."""
    document: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
    content = document["components"]["responses"]["Refused"]["content"]
    for address in document["paths"].values():
        for method, operation in address.items():
            if method != "parameters":
                for code, sentence in _ANY_REQUEST.items():
                    operation["responses"][code] = {"description": sentence, "content": content}
    return document
