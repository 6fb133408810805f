"""Fixtures of the tests of live cameras."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faceblur.errors import ServerStartError
from faceblur.sessions import SessionOptions, open_session
from faceblur.triton_runtime import TritonRuntime


@pytest.fixture(scope="session")
def bundled_server() -> Iterator[str]:
    """host:port of a Triton server with the bundled model; do not break it."""
    try:
        TritonRuntime.find()
    except ServerStartError as error:
        pytest.skip(str(error))
    with open_session(SessionOptions()) as opened:
        assert opened.server is not None
        yield opened.server.address
