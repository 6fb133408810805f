"""Files of a store that a program names, results that it has written there, and what it may not."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests
from buckets import SECRET, Bucket
from click.testing import CliRunner
from faulty_door import FaultyDoor
from waiting import until
from web_programs import TOKEN, Programs, programs

from faceblur.cli import main
from faceblur.detection.session import DetectionSession, SessionOptions
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.stores.address import parse_address
from faceblur.web.jobs.job import FINAL
from faceblur.web.jobs.stored import OUTPUT, allowed_folders, checked_address
from faceblur.web.options import Limits, WebOptions

PHOTO = (Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg").read_bytes()


def test_a_file_is_fetched_from_where_it_is_allowed(
    door: FaultyDoor, bucket: Bucket, tmp_path: Path
) -> None:
    for key in ("in/a.jpg", "inner/b.jpg", "c.jpg"):
        bucket.put(key, PHOTO)
    bucket.put("in/note.txt", b"no photo")
    bucket.put("in/large.jpg", bytes(400_001))
    root = f"s3://{bucket.name}"
    options = WebOptions(
        token=TOKEN, folders=allowed_folders([f"{root}/in/"]), limits=Limits(file_bytes=400_000)
    )
    with programs(tmp_path, options) as served:

        def ask(source: str, key: str | None = None) -> tuple[int, str]:
            headers = {"Idempotency-Key": key}
            answer = served.ask("POST", "/api/jobs", params={"source": source}, headers=headers)
            assert SECRET not in answer.text
            said = answer.json()
            return answer.status_code, said.get("error") or said["id"]

        code, number = ask(f"{root}/in/a.jpg", key="one")
        job = served.store.find(served.owner, number)
        assert code == 201
        assert job is not None
        assert (job.name, job.state, job.kind) == ("a.jpg", "waiting", "image")
        assert job.source is not None
        assert job.source.read_bytes() == PHOTO
        assert ask(f"{root}/in/a.jpg", key="one") == (200, number)
        # Some programs send no length where there is nothing to send.
        bare = http.client.HTTPConnection(served.base.partition("://")[2], timeout=20)
        bare.putrequest("POST", f"/api/jobs?source={root}/in/a.jpg")
        for name, value in (("Authorization", f"Bearer {TOKEN}"), ("Idempotency-Key", "one")):
            bare.putheader(name, value)
        bare.endheaders()
        assert bare.getresponse().status == 200
        bare.close()
        assert ask(f"{root}/in/note.txt", key="one")[0] == 422
        for outside in (
            f"{root}/c.jpg",
            f"{root}/inner/b.jpg",
            f"{root}/in/../c.jpg",
            f"{root}/in",
            "s3://other/in/a.jpg",
            "https://evil.example/a.jpg",
            "file:///etc/passwd",
            "/etc/passwd",
            f"simplecache::{root}/in/a.jpg",
            "",
        ):
            assert ask(outside)[0] == 422, outside
        assert ask(f"{root}/in/none.jpg") == (422, f"there is no file {root}/in/none.jpg")
        assert ask(f"{root}/in/note.txt")[0] == 415
        assert ask(f"{root}/in/large.jpg")[0] == 413
        assert len(served.store.of(served.owner)) == 1
    assert [path.name for path in tmp_path.rglob("*.*")] == []


def _shrunk(side: int) -> bytes:
    """The photo, with a face too small for what is asked."""
    image = cv2.resize(cv2.imdecode(np.frombuffer(PHOTO, np.uint8), cv2.IMREAD_COLOR), (side, side))
    return cv2.imencode(".png", image)[1].tobytes()


class Writing:
    """A program that has files of a bucket masked into the same bucket."""

    def __init__(self, served: Programs, bucket: Bucket) -> None:
        self.served = served
        self.root = f"s3://{bucket.name}"

    def submit(self, source: str, output: str, **said: str) -> requests.Response:
        named = {"source": f"{self.root}/{source}", "output": f"{self.root}/{output}"}
        headers = {"Idempotency-Key": said.pop("key", None)}
        answer = self.served.ask("POST", "/api/jobs", params=named | said, headers=headers)
        assert SECRET not in answer.text
        return answer

    def masked(self, source: str, output: str, **said: str) -> dict[str, Any]:
        submitted = self.submit(source, output, **said)
        assert submitted.status_code == 201, submitted.text
        return self.ended(submitted.json()["id"])

    def post(self, job: dict[str, Any], path: str, data: str = "", **said: str) -> dict[str, Any]:
        asked = self.served.ask("POST", f"/api/jobs/{job['id']}/{path}", params=said, data=data)
        assert asked.status_code in (200, 202), asked.text
        return self.ended(job["id"])

    def ended(self, number: str) -> dict[str, Any]:
        """The state of a file, once it has come to its end."""
        states: list[dict[str, Any]] = []

        def is_final() -> bool:
            states.append(self.served.ask("GET", f"/api/jobs/{number}").json())
            return states[-1]["state"] in FINAL

        until(is_final, "the file comes to its end")
        assert SECRET not in str(states[-1])
        return states[-1]


@pytest.fixture
def writing(
    door: FaultyDoor, bucket: Bucket, session: DetectionSession, tmp_path: Path
) -> Iterator[Writing]:
    assert session.server is not None
    bucket.put("in/a.jpg", PHOTO)
    bucket.put("in/small.png", _shrunk(96))
    options = WebOptions(
        token=TOKEN,
        policy=Policy(min_face=60),
        session=SessionOptions(server=session.server.address),
        folders=allowed_folders([f"s3://{bucket.name}/in"]),
        outputs=allowed_folders([f"s3://{bucket.name}/out"], OUTPUT),
    )
    with programs(tmp_path, options, works=True) as served:
        yield Writing(served, bucket)


def test_a_result_is_written_once_it_is_checked_and_clean(
    door: FaultyDoor, bucket: Bucket, writing: Writing
) -> None:
    states: list[str] = []

    def judge(method: str, path: str) -> str:
        if method == "PUT":
            (job,) = writing.served.store.of(writing.served.owner)
            assert job.results.current is not None
            states.append(f"{job.state} {job.results.current.verdict.result}")
        return "pass"

    door.judge = judge
    job = writing.masked("in/a.jpg", "out/a.jpg", key="one")
    assert states == ["storing clean"]
    door.judge = lambda method, path: "pass"
    there = f"{writing.root}/out/a.jpg"
    assert job["output"] == {"address": there, "version": 1, "error": None}
    result = writing.served.ask("GET", f"/api/jobs/{job['id']}/result").content
    assert bucket.get("out/a.jpg") == result != PHOTO
    # The same key is the same file, and another output with it is none.
    again = writing.submit("in/a.jpg", "out/a.jpg", key="one")
    assert (again.status_code, again.json()["id"]) == (200, job["id"])
    assert writing.submit("in/a.jpg", "out/b.jpg", key="one").status_code == 422
    # What was there stays, unless its program says otherwise; an original stays anyway.
    taken = writing.submit("in/a.jpg", "out/a.jpg")
    assert (taken.status_code, taken.json()["error"].split(":")[0]) == (409, "there is a file s3")
    for source, output, said in (
        ("in/a.jpg", "in/a.jpg", {"replace": "yes"}),
        ("in/a.jpg", "other/a.jpg", {}),
        ("in/a.jpg", "out/../in/a.jpg", {}),
        ("in/a.jpg", "out", {}),
        ("in/a.jpg", "out/a.mp4", {}),
        ("in/a.jpg", "out/c.jpg", {"replace": "maybe"}),
    ):
        assert writing.submit(source, output, **said).status_code == 422, (output, said)
    # Another result takes the place of the one that this file has put there, and back again.
    job = writing.post(job, "edits", '{"look": {"mode": "solid", "colour": "#0a64ff"}}')
    assert (job["result"]["version"], job["output"]["version"]) == (2, 2)
    assert bucket.get("out/a.jpg") != result
    job = writing.post(job, "undo")
    assert (job["result"]["version"], job["output"]["version"]) == (1, 1)
    assert bucket.get("out/a.jpg") == result
    # But not of what somebody else has put there since.
    bucket.put("out/a.jpg", b"theirs")
    job = writing.post(job, "redo")
    assert (job["output"]["version"], bucket.get("out/a.jpg")) == (1, b"theirs")
    assert "already: name another, or say replace=yes" in job["output"]["error"]
    job = writing.post(job, "output", replace="yes")
    assert job["output"] == {"address": there, "version": 2, "error": None}
    # Nor of what goes, or comes there, between the last look and the writing.
    job = writing.masked("in/a.jpg", "out/b.jpg")
    for theirs, step, number in ((None, "edits", 1), (b"theirs", "undo", 2)):

        def come_between(method: str, path: str, theirs: bytes | None = theirs) -> str:
            if method == "PUT" and theirs is None:
                bucket.client.delete_object(Bucket=bucket.name, Key="out/b.jpg")
            elif method == "PUT":
                bucket.put("out/b.jpg", theirs)
            return "pass"

        door.judge = come_between
        job = writing.post(job, step, '{"look": {"mode": "solid"}}')
        assert job["output"]["version"] == number
        assert "somebody has changed or deleted s3" in job["output"]["error"]
        door.judge = lambda method, path: "pass"
        if theirs is None:
            job = writing.post(job, "output")
            assert (job["output"]["version"], job["output"]["error"]) == (2, None)
    assert bucket.get("out/b.jpg") == b"theirs"
    # What was sent can be written, too.
    sent = writing.served.send(PHOTO).json()
    assert writing.ended(sent["id"])["output"] is None
    named = {"output": f"{writing.root}/out/sent.jpg"}
    assert writing.post(sent, "output", **named)["output"]["version"] == 1
    assert bucket.keys("out/") == ["out/a.jpg", "out/b.jpg", "out/sent.jpg"]


def test_a_result_that_is_not_clean_or_cannot_be_written_stays_here(
    door: FaultyDoor, bucket: Bucket, writing: Writing
) -> None:
    job = writing.masked("in/small.png", "out/small.png")
    assert job["result"]["verdict"]["result"] == "leaks"
    assert (job["output"]["version"], bucket.keys("out/")) == (None, [])
    assert "a face may still show" in job["output"]["error"]
    assert writing.post(job, "output", unclean="yes")["output"]["version"] == 1
    assert bucket.keys("out/") == ["out/small.png"]
    # A store that refuses, and one whose answer is lost.
    door.first(1, "deny", "PUT")
    job = writing.masked("in/a.jpg", "out/a.jpg")
    assert (job["state"], job["output"]["version"]) == ("done", None)
    assert f"writing to {writing.root}/out/a.jpg is denied" in job["output"]["error"]
    door.first(1, "cut", "PUT")
    assert writing.post(job, "output")["output"] == {
        "address": f"{writing.root}/out/a.jpg", "version": 1, "error": None
    }  # fmt: skip

    def come_first(method: str, path: str) -> str:
        if method == "PUT":
            bucket.put("out/b.jpg", b"theirs")
        return "pass"

    # Somebody else's file comes between the last look and the writing.
    door.judge = come_first
    job = writing.post(job, "output", output=f"{writing.root}/out/b.jpg")
    assert (job["output"]["version"], bucket.get("out/b.jpg")) == (None, b"theirs")
    assert "already, which is not replaced" in job["output"]["error"]
    # It is broken off while the store does not answer.
    asked = threading.Event()

    def hold(method: str, path: str) -> str:
        if method != "PUT":
            return "pass"
        asked.set()
        return "hold"

    door.judge = hold
    path = f"/api/jobs/{job['id']}"
    there = {"output": f"{writing.root}/out/c.jpg"}
    assert writing.served.ask("POST", f"{path}/output", params=there).status_code == 202
    assert asked.wait(60)
    writing.served.ask("POST", f"{path}/cancel")
    job = writing.ended(job["id"])
    assert (job["state"], job["output"]["error"]) == ("done", "cancelled")
    door.judge = lambda method, path: "pass"
    assert bucket.keys("out/") == ["out/a.jpg", "out/b.jpg", "out/small.png"]


@pytest.mark.parametrize("folder", ["folder", "https://example.org/in", "nothing://in"])
def test_what_is_no_folder_of_a_store_is_said_at_the_start(folder: str) -> None:
    for option in ("--fetch-from", "--write-to"):
        refused = CliRunner().invoke(main, ["web", "--no-browser", option, folder])
        assert refused.exit_code == 3
        assert folder.split(":")[0] in refused.output


@pytest.mark.parametrize(
    ("folder", "inside", "outside"),
    [
        ("sftp://host/out", "ssh://host/out/a.mp4", "sftp://host:2222/out/a.mp4"),
        ("sftp://me@host/out", "sftp://me@host/out/a.mp4", "sftp://you:pass@host/out/a.mp4"),
        ("az://box/out", "abfs://box/out/a.mp4", "abfs://box@other.dfs.core.windows.net/out/a.mp4"),
    ],
)
def test_only_the_very_host_login_and_account_that_was_allowed_may_be_named(
    folder: str, inside: str, outside: str
) -> None:
    allowed = parse_address(folder)
    assert allowed is not None
    assert checked_address(inside, [allowed], OUTPUT).name == "a.mp4"
    with pytest.raises(InputError, match="nobody has allowed to write"):
        checked_address(outside, [allowed], OUTPUT)
