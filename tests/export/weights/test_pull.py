"""Official weights come whole and unchanged, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from addresses import unanswered
from click.testing import CliRunner

from faceblur.detection import models
from faceblur.errors import ModelError, OutputError
from faceblur_export import pull as weights
from faceblur_export.cli import main
from faceblur_export.weights.download import fetch
from faceblur_export.weights.known import KNOWN

NAME = "yolov5n-0.5-face"
CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Host(ThreadingHTTPServer):
    """Serves one file, as well or as badly as a test wants."""

    content = CONTENT
    send_at_most = len(CONTENT)
    ranges = True
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requested: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pt"


class Handler(BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requested.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        start = start if self.server.ranges else 0
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        if start and start >= len(self.server.content):
            self.send_error(416)
            return
        rest = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: self.server.send_at_most])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_file_is_fetched_and_progress_told(host: Host, tmp_path: Path) -> None:
    seen: list[float | None] = []
    fetch(host.url, tmp_path / "w.pt", sha256=SHA256, progress=seen.append)
    assert (tmp_path / "w.pt").read_bytes() == CONTENT
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt"]


def test_connection_that_breaks_is_resumed_where_it_stopped(host: Host, tmp_path: Path) -> None:
    host.send_at_most = 200_000
    fetch(host.url, tmp_path / "w.pt", sha256=SHA256, pause_s=0)
    assert (tmp_path / "w.pt").read_bytes() == CONTENT
    assert host.requested == [None, "bytes=200000-", "bytes=400000-"]


def test_next_run_goes_on_with_what_the_last_one_left(host: Host, tmp_path: Path) -> None:
    host.send_at_most = 100_000
    with pytest.raises(ModelError, match=r"after 300000 of 512000 bytes.*same command"):
        fetch(host.url, tmp_path / "w.pt", sha256=SHA256, pause_s=0)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pt.part"]
    host.send_at_most = len(CONTENT)
    fetch(host.url, tmp_path / "w.pt", sha256=SHA256)
    assert host.requested[-1] == "bytes=300000-"
    assert (tmp_path / "w.pt").read_bytes() == CONTENT


def test_server_without_ranges_starts_again(host: Host, tmp_path: Path) -> None:
    (tmp_path / "w.pt.part").write_bytes(CONTENT[:1000])
    host.ranges = False
    fetch(host.url, tmp_path / "w.pt", sha256=SHA256)
    assert (tmp_path / "w.pt").read_bytes() == CONTENT


def test_part_that_is_already_whole(host: Host, tmp_path: Path) -> None:
    (tmp_path / "w.pt.part").write_bytes(CONTENT)
    fetch(host.url, tmp_path / "w.pt", sha256=SHA256)
    assert (tmp_path / "w.pt").read_bytes() == CONTENT


@pytest.mark.parametrize("left_over", [b"", b"something else"])
def test_wrong_hash_is_refused_and_forgotten(host: Host, tmp_path: Path, left_over: bytes) -> None:
    if left_over:
        (tmp_path / "w.pt.part").write_bytes(left_over)
    else:
        host.content = CONTENT[:-1] + b"!"
    with pytest.raises(ModelError, match=rf"refused: its SHA-256 is .* but {SHA256} is expected"):
        fetch(host.url, tmp_path / "w.pt", sha256=SHA256)
    assert not list(tmp_path.iterdir())


def test_absent_file_is_not_asked_for_again(host: Host, tmp_path: Path) -> None:
    host.status = 404
    with pytest.raises(ModelError, match=r"Not Found.*--from FILE"):
        fetch(host.url, tmp_path / "w.pt", sha256=SHA256, pause_s=0)
    assert len(host.requested) == 1


def test_no_server_at_all(tmp_path: Path) -> None:
    with (
        unanswered() as nowhere,
        pytest.raises(ModelError, match=r"could not fetch .*refused"),
    ):
        fetch(f"http://{nowhere}/weights.pt", tmp_path / "w.pt", sha256=SHA256, pause_s=0)


def test_pull_from_a_file_makes_a_model_that_can_be_named(shared: Path, cache: Path) -> None:
    exported = weights.pull(NAME, source=shared / "weights" / f"{NAME}.pt")
    assert exported.path == cache / "models" / f"{NAME}.onnx"
    path, info = models.find(NAME)
    assert (path, info.name, info.sha256) == (exported.path, NAME, exported.sha256)
    assert (cache / "weights" / f"{NAME}.pt").is_file()
    listed = dict(
        line.split(None, 1)
        for line in CliRunner().invoke(main, ["weights", "list"]).output.splitlines()
    )
    assert list(listed) == list(KNOWN)
    assert listed[NAME].endswith(str(exported.path))
    assert listed["yolov5s-face"].endswith("not here")


def test_pull_over_the_network_once(
    shared: Path, cache: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.content = (shared / "weights" / f"{NAME}.pt").read_bytes()
    host.send_at_most = len(host.content)
    monkeypatch.setitem(KNOWN, NAME, replace(KNOWN[NAME], url=host.url))
    assert weights.pull(NAME).path.is_file()
    assert weights.pull(NAME).path.is_file()
    assert len(host.requested) == 1


def test_pull_refuses_other_files_and_names(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "other.pt").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"other\.pt was refused"):
        weights.pull(NAME, source=tmp_path / "other.pt")
    with pytest.raises(ModelError, match="cannot read"):
        weights.pull(NAME, source=tmp_path / "absent.pt")
    with pytest.raises(ModelError, match=rf"no weights called 'yolov9'.*{NAME}"):
        weights.pull("yolov9")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="FACEBLUR_CACHE"):
        weights.pull(NAME)
