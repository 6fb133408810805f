"""What is done about those who connect and never ask, and answers that end too early."""

from __future__ import annotations

import dataclasses
import http.client
import logging
import socket
import ssl
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests
import uvicorn
from starlette.types import Receive, Scope, Send
from waiting import until
from web_programs import TOKEN, Programs, programs

from faceblur.detections import MediaDetections
from faceblur.web import certificate, listening
from faceblur.web.jobs.job import Submission
from faceblur.web.jobs.results import Result, Verdict
from faceblur.web.options import WebOptions

PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 4)
    options = WebOptions(token=TOKEN, leave_s=0)
    with programs(tmp_path, options) as running:
        yield running


def _connect(served: Programs, source: str = "127.0.0.1") -> socket.socket:
    host, _, port = served.base.partition("://")[2].partition(":")
    return socket.create_connection((host, int(port)), 60, (source, 0))


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_who_never_finishes_asking_is_waited_for_so_long(
    served: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = served.base.partition("://")[2]
    half = f"GET /api/jobs HTTP/1.1\r\nHost: {host}\r\n".encode()
    with ExitStack() as opened, monkeypatch.context() as impatient:
        kept = opened.enter_context(_connect(served))
        # A whole answer, and then half of the next request.
        kept.sendall(half + b"\r\n")
        answer = _answer(kept)
        assert (answer.status, answer.read() != b"") == (401, True)
        # From now on; whoever is slower than that may find the connection closed already.
        impatient.setattr(listening, "ASK_S", 0.3)
        silent, begun = (opened.enter_context(_connect(served)) for _ in range(2))
        for connection in (kept, begun):
            with suppress(OSError):
                connection.sendall(half)
        assert all(map(_is_closed, (kept, silent, begun)))
    assert served.ask("GET", "/api/jobs").status_code == 200


def test_there_are_only_so_many_connections(served: Programs) -> None:
    with ExitStack() as opened:
        for number in range(4):
            # Each has shown the token, and is not done yet.
            opened.enter_context(served.begun(f"/api/jobs?name={number}.jpg", 1000))
        assert _is_closed(opened.enter_context(_connect(served)))

    def is_let_in() -> bool:
        # The program may not know yet that the others have gone.
        with suppress(requests.ConnectionError):
            return served.ask("GET", "/api/jobs").status_code == 200
        return False

    until(is_let_in, "somebody is let in again")


def _answer(connection: socket.socket) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


def test_who_has_not_shown_a_session_gives_way(
    served: Programs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Nobody goes by themselves.
    monkeypatch.setattr(listening, "ASK_S", 600)
    session = served.access.redeem(served.access.token)
    assert session is not None
    host = served.base.partition("://")[2]

    def ask(path: str, header: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n\r\n".encode()

    with ExitStack() as opened:

        def connect(source: str) -> socket.socket:
            return opened.enter_context(_connect(served, source))

        # A page listens to what happens; and somebody has taken all the rest.
        page = connect("127.0.0.2")
        cookie = f"Cookie: {served.access.cookie}={session}"
        page.sendall(ask(f"/api/events?proof={served.access.csrf(session)}", cookie))
        told = _answer(page)
        assert told.status == 200
        few, first, second = (connect(f"127.0.0.{last}") for last in (3, 4, 4))
        # Who comes now comes in; of the address that has most, the first one goes.
        new = connect("127.0.0.5")
        assert _is_closed(first)
        new.sendall(ask("/api/events", f"Authorization: Bearer {TOKEN}"))
        assert _answer(new).status == 200
        # The next takes the place of one that came before it, and not of who is known.
        last = connect("127.0.0.6")
        assert _is_closed(few)
        for stranger in (second, last):
            stranger.sendall(ask("/api/jobs", "Cookie: a=b"))
            assert _answer(stranger).status == 401
        # The page is told what happens, though more come.
        served.store.begin(session, Submission(name="new.jpg"))
        assert served.ask("GET", "/api/jobs").status_code == 200
        assert any(b"new.jpg" in line for line in told)
    assert caplog.records == []


def test_who_gives_way_does_not_do_so_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 4)
    monkeypatch.setattr(listening, "_MOST_LEAVING", 2)
    with ExitStack() as opened:
        listener = opened.enter_context(listening.listen("127.0.0.1", 0))
        listener.listen()

        def connect() -> socket.socket:
            opened.enter_context(socket.create_connection(listener.getsockname()))
            return opened.enter_context(listener.accept()[0])

        taken = [connect() for _ in range(5)]
        # Whoever was let go has a turn of the loop to be closed before the next one is taken.
        with pytest.raises(BlockingIOError):
            listener.accept()
        taken.append(connect())
        with pytest.raises(BlockingIOError):
            listener.accept()
        # Two were told to go, and are still there: each is a file descriptor.
        with pytest.raises(ConnectionAbortedError):
            connect()
        for left in taken[:2]:
            left.close()
        connect()


@contextmanager
def _encrypted(folder: Path) -> Iterator[int]:
    """Answer nobody, encrypted, at a port of every address of this machine."""
    folder.mkdir()
    host = "::" if Path("/proc/net/if_inet6").exists() else "0.0.0.0"
    made = certificate.make(folder, "127.0.0.1")
    with listening.listen(host, 0) as listener:
        server = uvicorn.Server(listening.configured(_nothing, made))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started, "the server starts")
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server does not end"


def test_one_machine_keeps_nobody_else_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "MOST_OF_ONE", 2)
    monkeypatch.setattr(listening, "HANDSHAKE_S", 600)
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    with _encrypted(tmp_path / "patient") as port, ExitStack() as opened:

        def connect(source: str) -> socket.socket:
            made = socket.create_connection(("127.0.0.1", port), 60, (source, 0))
            return opened.enter_context(made)

        def is_let_in(source: str) -> bool:
            try:
                return bool(opened.enter_context(anyone.wrap_socket(connect(source))).version())
            except OSError:
                return False

        # One machine connects and says nothing more, as often as it can.
        silent = [connect("127.0.0.2") for _ in range(2)]
        assert not is_let_in("127.0.0.2")
        # Another one comes through, and this one as often as it likes.
        assert all(map(is_let_in, ("127.0.0.3", *["127.0.0.1"] * 5)))
        for connection in silent:
            connection.close()
        until(lambda: is_let_in("127.0.0.2"), "the machine is let in again")
    # Nor do those who have not begun with TLS keep others out, where there is room for one.
    with _encrypted(tmp_path / "full") as port, ExitStack() as opened, monkeypatch.context() as to:
        to.setattr(listening, "MOST_CONNECTIONS", 1)
        silent = [connect("127.0.0.2")]
        assert is_let_in("127.0.0.3")
        assert _is_closed(silent[0])
        assert caplog.records == []
    # Who does not go by themselves are not waited for as long as asyncio would.
    monkeypatch.setattr(listening, "HANDSHAKE_S", 0.1)
    with (
        _encrypted(tmp_path / "quick") as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as one,
    ):
        assert _is_closed(one)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing."""


def _finished(served: Programs, name: str, *, is_there: bool) -> str:
    """A file with a result; its address."""
    number: str = served.send(PHOTO.read_bytes(), name=name).json()["id"]
    job = served.store.find(served.owner, number)
    assert job is not None
    output = job.folder / "masked.jpg"
    if is_there:
        output.write_bytes(bytes(1000))
    found = MediaDetections(output, 9, 9, [])
    verdict = Verdict(result="clean")
    job.results.add(
        Result(
            number=1,
            output=output,
            record=job.folder,
            faces=0,
            frames=1,
            verdict=verdict,
            report=found,
        )
    )
    assert served.store.queue.withdraw(job)
    served.store.settle(job, None)
    return f"/api/jobs/{number}"


def _said(caplog: pytest.LogCaptureFixture, *, lines: int) -> list[str]:
    """What was logged, which may come after the answer."""
    until(lambda: len(caplog.records) >= lines, "it is logged")
    return [record.getMessage() for record in caplog.records]


def test_a_result_that_is_deleted_while_it_is_sent_breaks_off_with_one_line(
    served: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    _finished(served, "0.jpg", is_there=True)
    gone = _finished(served, "1.jpg", is_there=False)
    with caplog.at_level(logging.WARNING), pytest.raises(requests.exceptions.ChunkedEncodingError):
        served.ask("GET", "/api/results.zip")
    assert _said(caplog, lines=1) == [listening._BROKEN_OFF]
    assert caplog.records[0].exc_info is None
    # And so does one that is gone before anything was sent.
    with caplog.at_level(logging.WARNING):
        assert served.ask("GET", f"{gone}/result").status_code == 404
        assert served.ask("GET", f"{gone}/preview").status_code == 404
    assert len(caplog.records) == 1


def test_the_archive_holds_what_was_clean_when_it_was_asked_for(
    served: Programs, tmp_path: Path
) -> None:
    large = _finished(served, "0.jpg", is_there=True)
    other = _finished(served, "1.jpg", is_there=True)
    first, second = (
        served.store.find(served.owner, each.rpartition("/")[2]) for each in (large, other)
    )
    assert first is not None
    assert first.result is not None
    assert second is not None
    assert second.result is not None
    # More than fits on the way to somebody who does not read yet.
    first.result.output.write_bytes(bytes(30 << 20))
    with served.ask("GET", "/api/results.zip", stream=True) as answer:
        bad = dataclasses.replace(
            second.result,
            number=2,
            output=second.folder / "masked-2.jpg",
            verdict=Verdict(result="leaks", leaks=1),
        )
        bad.output.write_bytes(b"somebody")
        second.results.add(bad)
        whole = tmp_path / "all.zip"
        whole.write_bytes(answer.content)
    with zipfile.ZipFile(whole) as archive:
        assert archive.namelist() == ["0_blurred.jpg", "1_blurred.jpg"]
        assert archive.read("1_blurred.jpg") == bytes(1000)


def test_who_goes_before_all_was_sent_is_no_mistake_of_ours(
    served: Programs, caplog: pytest.LogCaptureFixture
) -> None:
    job = _finished(served, "0.jpg", is_there=True)
    with caplog.at_level(logging.WARNING):
        for path in (f"{job}/edits", "/api/jobs?name=a.jpg"):
            with served.begun(path, 1000) as sender:
                sender.sendall(b"{")
        until(lambda: not served.server.server_state.tasks, "all requests have come to an end")
        assert len(served.store.of(served.owner)) == 1
        assert served.ask("GET", job).json()["state"] == "done"
    assert caplog.records == []
