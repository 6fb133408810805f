"""What programs may ask with their token, and what becomes of a file that comes twice."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from starlette.routing import Route
from web_programs import TOKEN, Programs, programs

from faceblur.cli import main
from faceblur.detections import Detections, FrameDetections, MediaDetections
from faceblur.web.jobs.job import Findings, Submission, WebJob
from faceblur.web.jobs.uploads import UploadError, receive
from faceblur.web.options import Limits, WebOptions

PHOTO_PATH = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"
PHOTO = PHOTO_PATH.read_bytes()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    options = WebOptions(token=TOKEN, limits=Limits(file_bytes=1_000_000), leave_s=0)
    with programs(tmp_path_factory.mktemp("programs"), options) as running:
        yield running


def test_a_program_needs_its_token_alone(served: Programs) -> None:
    def code(**headers: str | None) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return served.ask("GET", "/api/jobs", headers=named).status_code

    assert code() == 200
    refused = served.ask("GET", "/api/jobs", headers={"Authorization": None})
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "the token" in refused.json()["error"]
    for wrong in ("", "Bearer", "Bearer x", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
        assert code(Authorization=wrong) == 401, wrong
    # A page of another site has no business here, whatever it shows.
    assert code(Origin="https://evil.example") == 403
    assert code(Sec_Fetch_Site="cross-site") == 403
    assert code(Host="evil.example") == 421
    # What changes something needs no token of the page.
    assert served.ask("DELETE", "/api/jobs").status_code == 204
    # The page is for people.
    assert served.ask("GET", "/").status_code == 403
    assert served.ask("GET", "/api/nothing").json() == {"error": "there is nothing here: Not Found"}
    assert served.ask("PUT", "/api/jobs").headers["allow"]


def test_nothing_is_changed_but_by_the_page_itself(served: Programs) -> None:
    session = served.access.redeem(served.access.token)
    assert session is not None
    cookie = {"Authorization": None, "Cookie": f"{served.access.cookie}={session}"}
    own = {"X-CSRF-Token": served.access.csrf(session)}
    changing = [
        (method, re.sub(r"{\w+}", "1", route.path))
        for route in served.api.app.routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"GET", "HEAD"})
    ]
    assert len(changing) >= 9

    def codes(headers: dict[str, str | None]) -> set[int]:
        return {served.ask(method, path, headers=headers).status_code for method, path in changing}

    assert codes({"Authorization": None}) == {401}
    assert codes(cookie) == {403}
    assert codes(cookie | {"X-CSRF-Token": ""}) == {403}
    assert codes(cookie | {"X-CSRF-Token": TOKEN}) == {403}
    for strange in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": served.base.replace("http:", "https:")},
        {"Origin": "null"},
    ):
        assert codes(cookie | own | strange) == {403}, strange
        assert codes(strange) == {403}, strange
    # A token that is wrong is not made good by a cookie.
    assert codes(cookie | own | {"Authorization": "Bearer x"}) == {401}
    # The page itself is let through, and is told of files that are not there.
    assert not codes(cookie | own) & {401, 403}
    assert (
        served.ask("POST", "/api/jobs", headers=cookie | own | {"Cookie": "x"}).status_code == 401
    )
    # What programs send is not shown to it, nor the other way round.
    number = served.send(PHOTO).json()["id"]
    assert served.ask("GET", f"/api/jobs/{number}", headers=cookie).status_code == 404
    sent = served.ask("POST", "/api/jobs?name=a.jpg", data=PHOTO, headers=cookie | own).json()
    assert served.ask("GET", f"/api/jobs/{sent['id']}").status_code == 404
    assert served.ask("DELETE", f"/api/jobs/{sent['id']}").status_code == 404


def test_the_address_works_once_for_whoever_opens_it(tmp_path: Path) -> None:
    nobody = {"Authorization": None}
    # Mail programs and browsers look at what they have not been asked to open.
    early = {**nobody, "Sec-Purpose": "prefetch"}
    with programs(tmp_path, WebOptions()) as fresh:
        address = f"/?token={fresh.access.token}"
        assert fresh.ask("HEAD", address, headers=nobody).status_code == 403
        assert fresh.ask("GET", address, headers=early).status_code == 403
        opened = fresh.ask("GET", address, headers=nobody)
        assert (opened.status_code, len(opened.cookies)) == (200, 1)
        assert fresh.ask("GET", address, headers=nobody).status_code == 403


def test_without_a_token_no_program_is_answered(tmp_path: Path) -> None:
    with programs(tmp_path, WebOptions()) as closed:
        for shown in ("Bearer ", "Bearer None", f"Bearer {TOKEN}"):
            headers = {"Authorization": shown}
            assert closed.ask("GET", "/api/jobs", headers=headers).status_code == 401


def test_a_token_that_can_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEBLUR_WEB_TOKEN", "secret")
    refused = CliRunner().invoke(main, ["web", "--no-browser"])
    assert refused.exit_code == 3
    assert "needs at least 32" in refused.output
    assert "secret" not in refused.output


def test_a_file_that_is_sent_again_is_the_same_file(served: Programs) -> None:
    served.ask("DELETE", "/api/jobs")
    first = served.send(PHOTO, key="one")
    assert first.status_code == 201
    again = served.send(PHOTO, key="one")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert again.headers["location"] == first.headers["location"]
    assert len(served.store.of(served.owner)) == 1
    # Another file, be it as long, or another name is none to be sent with this key.
    other = bytes(reversed(PHOTO))
    for body, name in ((other, "a.jpg"), (PHOTO[:-1], "a.jpg"), (PHOTO, "b.jpg")):
        assert served.send(body, name=name, key="one").status_code == 422
    solid = '{"look": {"mode": "solid"}}'
    assert served.send(PHOTO, edits=solid, key="one").status_code == 422
    # What needs to be found first cannot be wanted yet, and what is none is said at once.
    for edits in ('{"kept": [1]}', '{"look": {"mode": "image"}}', '{"look": {"cells": 99}}', "["):
        assert served.send(PHOTO, edits=edits).status_code == 422, edits
    assert served.send(PHOTO, key="two").status_code == 201
    assert served.send(PHOTO).status_code == 201
    assert len(served.ask("GET", "/api/jobs").json()["jobs"]) == 3
    for key in ("", "two words", "x" * 256):
        assert served.send(PHOTO, key=key).status_code == 400, key
    # What was refused leaves its key free, and so does what was deleted.
    assert served.send(b"no photo", name="note.txt", key="three").status_code == 415
    assert served.send(PHOTO, key="three").status_code == 201
    served.ask("DELETE", first.headers["location"])
    assert served.send(PHOTO, key="one").status_code == 201


def test_a_key_is_taken_while_its_file_still_comes(served: Programs) -> None:
    path = "/api/jobs?name=a.jpg"
    with served.begun(path, len(PHOTO), "Idempotency-Key: slow") as sender:
        assert served.send(PHOTO, key="slow").status_code == 409
        sender.sendall(PHOTO)
        assert sender.recv(1000).startswith(b"HTTP/1.1 201")
    assert served.send(PHOTO, key="slow").status_code == 200


def test_corrections_may_come_while_their_file_fails(served: Programs, tmp_path: Path) -> None:
    number = served.send(PHOTO, name="fails.jpg").json()["id"]
    job = served.store.find(served.owner, number)
    assert job is not None
    found = MediaDetections(PHOTO_PATH, 512, 512, [FrameDetections(0, 0, Detections.empty())])
    job.findings = Findings(found, tmp_path)
    said = b'{"corrections": []}'
    with served.begun(f"/api/jobs/{number}/corrections", len(said)) as sender:
        served.finish(number)
        assert job.findings is None
        sender.sendall(said)
        assert sender.recv(1000).startswith(b"HTTP/1.1 200")


def test_who_looks_at_many_frames_keeps_nobody_waiting(
    served: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = served.send(PHOTO, name="many.jpg").json()["id"]
    job = served.store.find(served.owner, number)
    assert job is not None
    found = MediaDetections(PHOTO_PATH, 512, 512, [FrameDetections(0, 0, Detections.empty())])
    job.findings = Findings(found, tmp_path)
    go, looked = threading.Event(), []

    def slow(*_: object, **__: object) -> bytes:
        looked.append(go.wait(60))
        return b"a frame"

    monkeypatch.setattr("faceblur.web.editing.frame_routes.frame_image", slow)
    path = f"/api/jobs/{number}/frame?at=0&side=original"
    host = served.base.partition("://")[2]
    address = ("127.0.0.1", int(host.rpartition(":")[2]))
    gone = [socket.create_connection(address) for _ in range(40)]
    for asking in gone:
        asking.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
    with ThreadPoolExecutor(1) as others:
        waits = others.submit(served.ask, "GET", path)
        # All threads would be taken.
        assert served.send(PHOTO, name="beside.jpg").status_code == 201
        # Whoever has gone on is not read frames for.
        for asking in gone:
            asking.close()
        assert served.ask("GET", "/api/jobs").status_code == 200
        go.set()
        assert waits.result().content == b"a frame"
    assert 1 <= len(looked) < 40
    served.ask("DELETE", "/api/jobs")


def test_a_disk_that_is_full_with_the_last_bytes_is_said(tmp_path: Path) -> None:
    job = WebJob(
        id="1", owner="", name="a", folder=tmp_path, submission=Submission(name="a", length=9000)
    )

    async def stream() -> AsyncIterator[bytes]:
        yield bytes(9000 - 10)
        yield bytes(10)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000 - 5, before[1]))
    try:
        with (
            ThreadPoolExecutor(1) as beside,
            pytest.raises(UploadError, match="it cannot be stored") as refusal,
        ):
            # A thread of its own: Playwright has an event loop in this one.
            beside.submit(asyncio.run, receive(job, stream(), Limits(spare_bytes=0))).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refusal.value.code == 507


def test_one_file_is_told_of_until_it_is_finished(served: Programs) -> None:
    number = served.send(PHOTO).json()["id"]
    told = served.ask("GET", f"/api/jobs/{number}/events", stream=True)
    assert told.headers["content-type"].startswith("text/event-stream")
    lines = told.iter_lines(chunk_size=1)
    assert json.loads(next(lines).removeprefix(b"data: "))["state"] == "waiting"
    served.finish(number)
    rest = [line for line in lines if line]
    assert json.loads(rest[-1].removeprefix(b"data: "))["error"] == "it is damaged"
    # No page was left, so nothing was, though files of pages would go at once.
    served.store.sweep()
    assert served.ask("GET", f"/api/jobs/{number}").json()["state"] == "failed"
    assert served.ask("GET", "/api/jobs/unknown/events").status_code == 404
    waiting = served.send(PHOTO).json()["id"]
    told = served.ask("GET", f"/api/jobs/{waiting}/events", stream=True)
    lines = told.iter_lines(chunk_size=1)
    next(lines)
    served.ask("DELETE", f"/api/jobs/{waiting}")
    assert [line for line in lines if line] == [b"event: deleted", b"data: {}"]
