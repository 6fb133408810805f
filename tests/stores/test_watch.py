"""What arrives in a folder or a bucket is masked once it is whole, and once only."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import waiting
from buckets import Bucket
from click.testing import CliRunner
from faulty_door import FaultyDoor

from faceblur.batch.found import Found
from faceblur.batch.outcome import RunOptions
from faceblur.batch.result_names import target_of
from faceblur.batch.stored_search import address_of
from faceblur.cli import main
from faceblur.detection.session import DetectionSession
from faceblur.errors import FaceblurError, InputError
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.web import PageServer
from faceblur.stores.faults import UnreachableError, UnwritableError
from faceblur.watching import watch as watching
from faceblur.watching.arrivals import Arrivals, FolderSource
from faceblur.watching.status import pages
from faceblur.watching.watch import Watch, WatchOptions

QUICK = WatchOptions(every_s=0.1, settle_s=0.2)


@contextmanager
def running(watch: Watch) -> Iterator[None]:
    """A watch in a thread."""
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield
    finally:
        watch.stop()
        thread.join(60)
        assert not thread.is_alive()


def of(session: DetectionSession, place: str | Path, output: str | Path) -> Watch:
    source, results = (address_of(str(each)) or Path(each) for each in (place, output))
    target = target_of(results, into_folder=True)
    return Watch(source, target, session, RunOptions(workers=2), QUICK)


def until(condition: Callable[[], Any], what: str = "a change") -> None:
    waiting.until(condition, what)


def get(server: PageServer, page: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{server.address}{page}") as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def photo(portrait: npt.NDArray[np.uint8]) -> bytes:
    small = cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small)[1].tobytes()


def test_a_folder_is_watched(
    session: DetectionSession, tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in", tmp_path / "in" / "out"
    source.mkdir()
    (source / "first.jpg").write_bytes(photo)
    watch = of(session, source, out)
    served = PageServer("127.0.0.1:0", pages(watch.status))
    with served as server, running(watch), (source / "slow.jpg").open("wb") as slow:
        until(lambda: (out / "first.jpg").exists())
        # Somebody writes to it, and pauses for longer than a file that is whole stays unchanged.
        slow.write(photo[:-500])
        slow.flush()
        (source / "sub").mkdir()
        (source / "sub" / ".part.jpg").write_bytes(photo)
        (source / "sub" / ".part.jpg").replace(source / "sub" / "moved.jpg")
        (source / "notes.txt").write_text("nothing to see")
        (source / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
        until(lambda: watch.status().failed == 1 and (out / "sub" / "moved.jpg").exists())
        # All others count as whole, though they have been unchanged for less long.
        until(lambda: watch.status().settling == 1)
        assert not (out / "slow.jpg").exists()
        slow.write(photo[-500:])
        slow.close()
        until(lambda: (out / "slow.jpg").exists())
        assert (out / "slow.jpg").read_bytes() == (out / "first.jpg").read_bytes()
        # What failed is not tried again before it has changed.
        until(lambda: watch.status().masked == 3)
        assert watch.status().failed == 1
        assert list(watch.status().failures) == [str(source / "broken.jpg")]
        (source / "broken.jpg").write_bytes(photo)
        until(lambda: watch.status().masked == 4)
        assert watch.status().failures == {}
        # What failed and was deleted is no failure any more.
        (source / "gone.jpg").write_bytes(b"\xff\xd8\xff nothing")
        until(lambda: list(watch.status().failures) == [str(source / "gone.jpg")])
        (source / "gone.jpg").unlink()
        until(lambda: watch.status().failures == {})
        _, metrics = get(server, "/metrics")
        assert 'faceblur_watch_files_total{outcome="masked"} 4.0' in metrics
        assert "faceblur_watch_source_up 1.0" in metrics
        assert get(server, "/healthz") == (200, '{"healthy": true, "reasons": []}\n')
        assert get(server, "/readyz")[0] == 200
        assert json.loads(get(server, "/status")[1])["frames"] == 4
        monkeypatch.setattr("faceblur.watching.status.HUNG_S", -1.0)
        assert get(server, "/healthz")[0] == 503
    # A restart goes on: nothing is masked twice.
    (source / "late.jpg").write_bytes(photo)
    again = of(session, source, out)
    with running(again):
        until(lambda: (again.status().masked, again.status().finished) == (1, 4))


def test_a_bucket_is_watched(
    session: DetectionSession,
    door: FaultyDoor,
    bucket: Bucket,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE_S", 0.2)
    bucket.put("in/a.jpg", photo)
    watch = of(session, f"s3://{bucket.name}/in", f"s3://{bucket.name}/out")
    with PageServer("127.0.0.1:0", pages(watch.status)) as server, running(watch):
        until(lambda: bucket.keys("out/") == ["out/a.jpg"])
        door.first(10**6, "deny", "GET", "list-type")
        until(lambda: get(server, "/readyz")[0] == 503)
        assert "is denied" in get(server, "/readyz")[1]
        # Where it may pass, it is tried again; the store takes what is masked only later.
        door.first(10**6, "slow down", "PUT", "/out/b")
        bucket.put("in/b.jpg", photo)
        until(lambda: watch.status().failed >= 2)
        assert "asks to slow down" in watch.status().failures[f"s3://{bucket.name}/in/b.jpg"]
        door.judge = lambda method, path: "pass"
        until(lambda: bucket.keys("out/") == ["out/a.jpg", "out/b.jpg"])
        until(lambda: get(server, "/readyz")[0] == 200)
        until(lambda: watch.status().masked == 2)
    again = of(session, f"s3://{bucket.name}/in", f"s3://{bucket.name}/out")
    with running(again):
        until(lambda: again.status().finished == 2)
    assert again.status().masked == 0


def test_what_cannot_be_looked_at_for_now_comes_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = FolderSource(tmp_path)
    for name in ("a.jpg", "a_blurred.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    errors: dict[str, FaceblurError] = {
        "b.jpg": UnreachableError("gone"),
        "c.jpg": InputError("no"),
    }
    classify = FolderSource.classify

    def failing(self: FolderSource, place: Path, stamp: Hashable) -> Found | None:
        if error := errors.pop(place.name, None):
            raise error
        return classify(self, place, stamp)

    monkeypatch.setattr(FolderSource, "classify", failing)
    arrivals = Arrivals(source, target_of(tmp_path / "out", into_folder=True), settle_s=0.0)
    given = [[item.path.name for item in arrivals.look()] for _ in range(3)]
    # One that may not be read is left alone until it changes; one that may later, is not.
    assert given == [["a.jpg"], ["b.jpg"], []]
    # What is not taken for its name is said.
    assert "the result of a file beside it: " + str(tmp_path / "a_blurred.jpg") in caplog.text
    errors["d.jpg"] = UnwritableError("the disk is full")
    (tmp_path / "d.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UnwritableError):
        arrivals.look()
    assert [item.path.name for item in arrivals.look()] == ["d.jpg"]


def test_the_command_ends_in_order_and_refuses_what_cannot_be_watched(
    session: DetectionSession, tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("faceblur.cli.run.set_up_logs", lambda **_: SecretFilter())
    assert session.server is not None
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(photo)
    line = [sys.executable, "-m", "faceblur", "watch", "in", "-o", "out", "--settle", "0.1"]
    job = subprocess.Popen(
        [*line, "--listen", "127.0.0.1:0", "--server", session.server.address],
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: (tmp_path / "out" / "a.jpg").exists() or job.poll() is not None)
    job.send_signal(signal.SIGINT)
    _, log = job.communicate(timeout=60)
    assert job.returncode == 0
    assert re.search(r"watching in, results to out; status at 127\.0\.0\.1:\d+\n", log)
    assert "Traceback" not in log
    for arguments, told in (
        (("no-such-folder", "-o", "out"), "is no folder"),
        (("in", "-o", "in"), "would replace the originals"),
        (("in", "-o", "."), "lies in ., where the results would go"),
        (("s3://b/in", "-o", "s3a://b/"), "where the results would go"),
        (("https://example.org/in/", "-o", "out"), "cannot be watched"),
    ):
        refused = CliRunner().invoke(main, ["watch", *arguments])
        assert (refused.exit_code, refused.stderr.count("\n")) == (3, 1)
        assert told in refused.stderr
