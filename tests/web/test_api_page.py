"""The lines of docs/api.md, run as they stand there."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import requests
from buckets import Bucket, s3_login
from moto.server import ThreadedMotoServer
from receiver import receiving
from web_page import Served, files_in
from web_programs import TOKEN

Start = Callable[..., Served]
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()


def test_the_lines_of_the_page_do_what_it_says(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FACEBLUR_WEB_TOKEN", TOKEN)
    monkeypatch.setenv("FACEBLUR_WEBHOOK_SECRET", f"whsec_{base64.b64encode(bytes(24)).decode()}")
    with receiving() as receiver, _bucket(monkeypatch) as bucket:
        root = f"s3://{bucket.name}"
        allowed = "--fetch-from", f"{root}/in", "--write-to", f"{root}/out"
        site = start("--webhook-host", receiver.address, *allowed)
        _run_lines(site, tmp_path)
        assert bucket.keys() == ["in/photo.jpg", "out/photo.jpg"]
        assert bucket.get("out/photo.jpg") == (tmp_path / "photo_blurred.jpg").read_bytes()
        # Who wanted to know is told of a result that is there by then.
        told = requests.post(
            f"{site.base}/api/jobs",
            params={
                "name": "a.jpg",
                "output": f"{root}/out/told.jpg",
                "webhook": f"http://{receiver.address}/done",
            },
            data=(tmp_path / "photo.jpg").read_bytes(),
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=60,
        )
        assert told.status_code == 201
        said = json.loads(receiver.told.get(timeout=60)[2])
    assert (said["type"], said["data"]["id"]) == ("job.done", told.json()["id"])
    assert said["data"]["result"]["verdict"]["result"] == "clean"
    assert said["data"]["output"] == {
        "address": "s3://bucket/out/told.jpg", "version": 1, "error": None
    }  # fmt: skip


@contextmanager
def _bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The bucket of the page, at a server of its own, and the login for it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        for name, value in s3_login(port).items():
            monkeypatch.setenv(name, value)
        bucket = Bucket(port, "bucket")
        bucket.put("in/photo.jpg", (ROOT / "docs" / "images" / "before.jpg").read_bytes())
        yield bucket
    finally:
        server.stop()


def _run_lines(site: Served, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "photo.jpg")
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 8
    script = "set -euo pipefail\n" + "".join(blocks)
    script = script.replace("http://127.0.0.1:8000", site.base)
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=os.environ | {"FACEBLUR_WEB_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    events = [json.loads(line[6:]) for line in ran.stdout.splitlines() if line[:6] == "data: "]
    assert "done" in {event["state"] for event in events}
    looks = [(event["result"] or {}).get("edits", {}).get("look") for event in events]
    assert [look["mode"] for look in looks if look] == ["solid", "pixelate"]
    before, after = (
        cv2.imread(str(tmp_path / name)) for name in ("photo.jpg", "photo_blurred.jpg")
    )
    assert before.shape == after.shape
    assert not np.array_equal(before, after)
    with zipfile.ZipFile(tmp_path / "photo_report.zip") as report:
        assert any(name.endswith("report.html") for name in report.namelist())
    # Undone, the look of the start is back, and in the end everything is gone.
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["result"]["edits"]["look"]["mode"] == "solid"
    assert files_in(site.uploads) == []
