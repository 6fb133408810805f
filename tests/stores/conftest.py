"""Real stores over real HTTP, a door before them that fails on demand, and a client of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from buckets import SECRET, Blur, Bucket, s3_login
from click.testing import CliRunner, Result
from faulty_door import FaultyDoor
from moto.server import ThreadedMotoServer

from faceblur.cli import main
from faceblur.detection.session import DetectionSession
from faceblur.stores import connections, faults, fsspec_store


@pytest.fixture(scope="session")
def moto() -> Iterator[int]:
    """The port of an S3 server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def door(moto: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyDoor]:
    """What stands before the S3 server, and is where the libraries find it."""
    with FaultyDoor(moto) as door:
        for name, value in s3_login(door.port).items():
            monkeypatch.setenv(name, value)
        # The same errors, sooner.
        monkeypatch.setattr(faults, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(fsspec_store, "ATTEMPTS", 3)
        monkeypatch.setattr(connections, "_TRIES_OF_S3FS", 1)
        connections.connect.cache_clear()
        yield door
    connections.connect.cache_clear()


@pytest.fixture
def bucket(moto: int, request: pytest.FixtureRequest) -> Bucket:
    """An empty bucket of the test's own."""
    name = "b" + "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:60]
    return Bucket(moto, name.rstrip("-"))


@pytest.fixture
def blur(session: DetectionSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blur:
    """Run `faceblur blur ARGUMENTS…` in this process against the shared server."""
    assert session.server is not None
    server = session.server.address
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))

    def invoke(*arguments: str | Path) -> Result:
        finding = () if "--boxes" in arguments else ("--threshold", "0.2", "--server", server)
        line = ["blur", *map(str, arguments), *finding]
        result = CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)
        assert list(private.iterdir()) == [], "an unmasked copy was left"
        assert SECRET not in result.output
        return result

    return invoke
