"""Files in S3: mirrored, resumed, and none half done, against a real server over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from buckets import SECRET, Blur, Bucket
from faulty_door import FaultyDoor
from media import moving_face_video

from faceblur.detection.session import DetectionSession
from faceblur.proof.audit.reader import read_audit
from faceblur.stores import connections

Photos = dict[str, bytes]


@pytest.fixture
def photos(portrait: npt.NDArray[np.uint8]) -> Photos:
    """Three photos with a face, by their names."""
    small = cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)
    made = {}
    for number, name in enumerate(("a.jpg", "sub/b.png", "sub/c.jpg")):
        image = np.roll(small, 9 * number, axis=1)
        made[name] = cv2.imencode(Path(name).suffix, image)[1].tobytes()
    return made


@pytest.fixture
def filled(door: FaultyDoor, bucket: Bucket, photos: Photos) -> Bucket:
    """A bucket with the photos in the folder in."""
    for name, content in photos.items():
        bucket.put(f"in/{name}", content)
    return bucket


def outcomes(result: Any) -> dict[str, str]:
    """What the table says of each file."""
    lines = [re.split(r"\s{2,}", line) for line in result.stdout.splitlines()]
    return {line[0].rpartition("/")[2]: line[-1] for line in lines if len(line) == 5}


def test_a_bucket_is_mirrored_and_resumed_as_a_folder_is(
    blur: Blur, door: FaultyDoor, filled: Bucket, photos: Photos, tmp_path: Path
) -> None:
    for name, content in photos.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    line = (f"s3://{filled.name}/in/", "-o", f"s3://{filled.name}/out/")
    assert blur(*line).exit_code == 0
    assert filled.keys("out/") == ["out/a.jpg", "out/sub/b.png", "out/sub/c.jpg"]
    assert blur(tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    masked = {name: (tmp_path / "out" / name).read_bytes() for name in photos}
    assert {name: filled.get(f"out/{name}") for name in photos} == masked

    # Finished: nothing of any image is transferred.
    door.seen.clear()
    assert "3 files skipped" in blur(*line).stdout
    got = [path for method, path in door.seen if method != "HEAD"]
    assert not [path for path in got if re.search(r"\.(jpg|png)$", path)]
    # Nor does it count that the store knows a content by another tag by now.
    upload = filled.client.create_multipart_upload(Bucket=filled.name, Key="in/a.jpg")
    part = {"Bucket": filled.name, "Key": "in/a.jpg", "UploadId": upload["UploadId"]}
    tag = filled.client.upload_part(**part, PartNumber=1, Body=photos["a.jpg"])["ETag"]
    filled.client.complete_multipart_upload(
        **part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}
    )
    assert "3 files skipped" in blur(*line).stdout
    # What has changed, or is spoilt or gone, is made again, and nothing else.
    filled.put("in/a.jpg", photos["sub/c.jpg"])
    filled.put("out/sub/b.png", photos["sub/b.png"])
    assert outcomes(blur(*line)) == {
        "file": "outcome", "a.jpg": "masked", "b.png": "masked", "c.jpg": "skipped, was finished"
    }  # fmt: skip
    assert filled.get("out/sub/b.png") == masked["sub/b.png"]
    assert "skipped" not in blur(*line, "--mask", "solid").stdout


def test_files_go_from_a_bucket_to_a_folder_and_back(
    blur: Blur, filled: Bucket, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of many files: results are looked for by a list of all that is there.
    monkeypatch.setattr("faceblur.batch.jobs._FEW", 0)
    here, there = tmp_path / "here", f"s3://{filled.name}/there"
    record, listed = tmp_path / "record", tmp_path / "found.json"
    line = (f"s3://{filled.name}/in", "-o", f"{here}/", "--audit", record)
    assert blur(*line, "--json", listed).exit_code == 0
    assert sorted(p.name for p in here.rglob("*.*g")) == ["a.jpg", "b.png", "c.jpg"]
    assert "3 files skipped" in blur(*line).stdout
    found = json.loads(listed.read_text())["media"]
    assert found[0]["path"] == f"s3://{filled.name}/in/a.jpg"
    facts = [entry.manifest for entry in read_audit(record).entries]
    assert {each.source.name for each in facts} == set(photos) == {f.output.name for f in facts}
    assert {each["sha256"] for each in found} == {each.source.sha256 for each in facts}

    assert blur(here, "-o", f"{there}/").exit_code == 0
    assert "3 files skipped" in blur(here, "-o", f"{there}/").stdout
    # Into the same tree, and beside the original; results are not masked again.
    assert blur(f"s3://{filled.name}/in/a.jpg").exit_code == 0
    assert blur(f"s3://{filled.name}/in/*.jpg", "-o", f"s3://{filled.name}/in/out").exit_code == 0
    assert filled.keys("in/")[:3] == ["in/a.jpg", "in/a_blurred.jpg", "in/out/a.jpg"]
    assert set(outcomes(blur(f"s3://{filled.name}/in/", "-o", f"s3://{filled.name}/in/out"))) == {
        *("file", "a.jpg", "b.png", "c.jpg")
    }
    # The list of faces fits the copies again, by their content.
    again = blur(f"s3://{filled.name}/in/a.jpg", "--boxes", listed, "-o", here / "x.jpg")
    assert again.exit_code == 0
    assert (here / "x.jpg").read_bytes() == (here / "a.jpg").read_bytes()


def test_what_a_file_is_its_content_says(
    blur: Blur, door: FaultyDoor, bucket: Bucket, photos: Photos, tmp_path: Path
) -> None:
    moving_face_video(tmp_path / "clip.mp4", frames=3, width=160, height=90)
    long = "x" * 300
    for key, content in {
        "film.jpg": (tmp_path / "clip.mp4").read_bytes(),
        "film.png": (tmp_path / "clip.mp4").read_bytes(),
        "film.png.mp4": (tmp_path / "clip.mp4").read_bytes(),
        long: b"nothing to see",
        f"{long}.m4x": b"nothing to see",
        "denied.dat": photos["a.jpg"],
        "cache.dat": photos["a.jpg"],
        "clip.png": photos["a.jpg"],
        "photo.mpo": photos["a.jpg"],
        "notes.txt": b"nothing to see",
        ".hidden.jpg": photos["a.jpg"],
        "raw.dng": b"II*\0",
        "a/../b.jpg": photos["a.jpg"],
        "two//b.jpg": photos["a.jpg"],
        "folder/": b"",
    }.items():
        bucket.put(key, content)
    door.judge = lambda _, path: "deny" if "denied" in path else "pass"
    result = blur(f"s3://{bucket.name}/", "-o", f"{tmp_path}/out/")
    assert result.exit_code != 0
    assert "film.png is no image, and its result would be called as that of" in result.output
    written = [path.name for path in (tmp_path / "out").glob("*.*")]
    assert sorted(written) == [
        *(".faceblur", "cache.dat.jpg", "clip.png", "film.jpg.mp4", "film.png.mp4"),
        "photo.mpo.jpg",
    ]
    assert result.stdout.splitlines()[-1].endswith("4 other files left alone")
    assert re.search(
        r"faceblur: 4 files were not checked: (s3://\S+\.(jpg|dng|dat),? ?){4}\n", result.stderr
    )
    assert not list(tmp_path.rglob("b.jpg"))
    again = blur(f"s3://{bucket.name}/", "-o", f"{tmp_path}/out/")
    assert "5 files skipped" in again.stdout


def test_a_network_that_fails_now_and_then_changes_nothing(
    blur: Blur, door: FaultyDoor, filled: Bucket, photos: Photos
) -> None:
    line = (f"s3://{filled.name}/in/", "-o", f"s3://{filled.name}/out/", "--workers", "2")
    struck = [("GET", r"/in/a\.jpg"), ("PUT", r"/out/a\.jpg"), ("GET", "list-type")]
    for what in ("slow down", "cut", "drop"):
        left = door.once(struck, what)
        result = blur(*line, "--again")
        assert (result.exit_code, result.stderr, left) == (0, "", []), what
    assert len(filled.keys("out/")) == 3
    assert filled.unfinished() == 0


@pytest.mark.parametrize(
    ("method", "pattern", "code"), [("GET", r"/in/a\.jpg", 3), ("PUT", r"/out/a\.jpg", 4)]
)
def test_a_store_that_never_lets_one_through_is_told_in_a_sentence(
    blur: Blur, door: FaultyDoor, filled: Bucket, method: str, pattern: str, code: int
) -> None:
    line = (f"s3://{filled.name}/in/a.jpg", "-o", f"s3://{filled.name}/out/a.jpg")
    for what, told in (("slow down", "asks to slow down"), ("deny", "is denied: check who")):
        door.first(999, what, method, pattern)
        result = blur(*line)
        assert (result.exit_code, result.stdout) == (code, "")
        assert re.fullmatch(rf"faceblur: .*s3://.*{told}[^\n]*\n", result.stderr)
    assert filled.keys("out/") == []


def test_what_cannot_be_used_is_told_in_a_sentence(
    blur: Blur, filled: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, here = f"s3://{filled.name}/in/a.jpg", str(tmp_path / "a.jpg")
    for arguments, code, told in (
        ((f"s3://{filled.name}/no.jpg", "-o", here), 3, "does not exist"),
        (("s3://no-such-bucket/a.jpg", "-o", here), 3, "does not exist"),
        (("s3://no-such-bucket/", "-o", here), 3, "does not exist"),
        ((source, "-o", "s3://no-such-bucket/a.jpg"), 4, "make it first"),
        ((source, "-o", "https://example.org/a.jpg"), 3, "can only be read"),
        ((source, "-o", "s3://"), 3, "names no bucket"),
        ((source, "-o", source), 3, "would replace"),
        ((source, "-o", source.replace("s3:", "s3a:")), 3, "would replace"),
        ((source, "-o", f"{source}?versionId=1"), 3, "no name for results"),
        ((source, "-o", f"s3://{filled.name}/x/../in/"), 3, "no name for results"),
        ((f"s3://{filled.name}",), 3, "is a whole bucket"),
        ((f"s3://key:{SECRET}@{filled.name}/a.jpg",), 3, "leave them out"),
        ((f"simplecache::{source}",), 3, "leave unmasked copies"),
        ((f"zip://a.jpg::{source}",), 3, "leave unmasked copies"),
        (("rtsp://camera/1",), 3, "faceblur camera"),
        ((source, "-o", here, "--audit", f"s3://{filled.name}/record"), 2, "is an address"),
    ):
        result = blur(*arguments)
        assert (result.exit_code, result.stdout) == (code, ""), arguments
        assert re.fullmatch(
            rf"(Usage: .*\n.*\n\n)?(faceblur|Error): [^\n]*{told}[^\n]*\n", result.stderr
        ), result.stderr
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connections.connect.cache_clear()
    result = blur(source, "-o", here)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "there are no credentials" in result.stderr
    assert "aws configure" in result.stderr


def test_an_interrupt_leaves_nothing_anywhere(
    session: DetectionSession, door: FaultyDoor, filled: Bucket, tmp_path: Path
) -> None:
    assert session.server is not None
    uploading, released = threading.Event(), threading.Event()

    def hold(method: str, path: str) -> str:
        if method == "PUT" and "/out/" in path:
            uploading.set()
            released.wait(60)
            return "drop"
        return "pass"

    door.judge = hold
    line = ["blur", f"s3://{filled.name}/in/", "-o", f"s3://{filled.name}/out/"]
    job = subprocess.Popen(
        [sys.executable, "-m", "faceblur", *line, "--server", session.server.address],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert uploading.wait(60)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o700]
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    released.set()
    assert (job.returncode, errors) == (130, "faceblur: interrupted\n")
    assert (list(tmp_path.iterdir()), filled.keys("out/")) == ([], [])
