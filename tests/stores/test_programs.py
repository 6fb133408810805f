"""Files of a store that a program names, and those that it may not."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest
from buckets import SECRET, Bucket
from click.testing import CliRunner
from faulty_door import FaultyDoor
from web_programs import TOKEN, programs

from faceblur.cli import main
from faceblur.web.jobs.stored import allowed_folders
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


@pytest.mark.parametrize("folder", ["folder", "https://example.org/in", "nothing://in"])
def test_what_is_no_folder_of_a_store_is_said_at_the_start(folder: str) -> None:
    refused = CliRunner().invoke(main, ["web", "--no-browser", "--fetch-from", folder])
    assert refused.exit_code == 3
    assert folder.split(":")[0] in refused.output
