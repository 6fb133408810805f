"""What becomes of a file whose detector is lost, and is started again or not."""

from __future__ import annotations

import errno
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from faceblur import errors, files
from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import MediaDetections
from faceblur.errors import ServerError, ServerUnavailableError
from faceblur.masks.policy import Policy
from faceblur.web import server
from faceblur.web.editing.shown_frames import frame_image
from faceblur.web.jobs import worker
from faceblur.web.jobs.fair_queue import FairQueue
from faceblur.web.jobs.frame_cache import FrameCache
from faceblur.web.jobs.job import Findings, Submission, WebJob
from faceblur.web.jobs.reasons import not_stored
from faceblur.web.jobs.rendering import renamed
from faceblur.web.jobs.results import Result, Verdict
from faceblur.web.jobs.store import JobStore
from faceblur.web.jobs.worker import Workers
from faceblur.web.options import WebOptions

PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"


class _Detectors:
    """Notes who was lost, and says whose it is."""

    def __init__(self, *, is_own: bool) -> None:
        self._is_own = is_own
        self.lost = 0

    def session(self, kind: str, *, stop: threading.Event) -> None:
        pass

    def failed(self, kind: str, error: ServerError) -> bool:
        self.lost += 1
        return self._is_own


def _result(output: Path) -> Result:
    found = MediaDetections(output, 9, 9, [])
    verdict = Verdict(result="clean")
    return Result(
        number=1, output=output, record=output, faces=0, frames=1, verdict=verdict, report=found
    )


@pytest.mark.parametrize(
    ("is_own", "failures", "state", "attempts"),
    [(True, 1, "done", 2), (True, 9, "failed", 2), (False, 1, "failed", 1)],
)
def test_a_file_is_begun_again_once_where_the_detector_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_own: bool,
    failures: int,
    state: str,
    attempts: int,
) -> None:
    begun: list[str] = []

    def render(job: WebJob, *_: object, **__: object) -> Result:
        begun.append(job.state)
        job.start()
        job.frames.add(0, 0, b"somebody")
        if len(begun) <= failures:
            raise ServerUnavailableError("no server answers")
        return _result(job.folder / "masked.jpg")

    monkeypatch.setattr(worker, "render", render)
    store = JobStore(tmp_path, WebOptions(), FairQueue(1))
    settled = threading.Event()
    store.on_settled = lambda _: settled.set()
    detectors: Any = _Detectors(is_own=is_own)
    with Workers(store, detectors, Policy(), count=1):
        job = store.begin("somebody", Submission(name="a.jpg"))
        store.submit(job)
        assert settled.wait(60)
    assert job.state == state
    # Each time it waits until there is a detector.
    assert begun == ["waiting"] * attempts
    assert detectors.lost == min(failures, attempts)
    assert (job.error is None) == (state == "done")
    # What somebody has looked at meanwhile goes with a file that fails.
    assert job.frames.find(0, 0) == (b"somebody" if state == "done" else None)


def test_files_go_though_something_else_cannot_be_swept_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "_SWEEP_S", 0.001)
    ended = threading.Event()
    swept: list[str] = []

    class Files:
        def sweep(self) -> None:
            swept.append("files")
            if len(swept) > 2:
                ended.set()

    class Cameras:
        def sweep(self) -> None:
            raise OSError("it hangs")

    several: list[Any] = [Files(), Cameras()]
    thread = threading.Thread(target=server._sweep, args=(*several, None, ended))
    thread.start()
    assert ended.wait(60)
    thread.join()
    assert "cannot sweep up" in caplog.text


def test_nothing_is_held_of_a_file_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(job: WebJob, *_: object, **__: object) -> Result:
        return _result(job.folder / "masked.jpg")

    monkeypatch.setattr(worker, "render", render)
    store = JobStore(tmp_path, WebOptions(), FairQueue(1))
    detectors: Any = _Detectors(is_own=False)
    with Workers(store, detectors, Policy(), count=1):
        job = store.begin("somebody", Submission(name="a.jpg"))
        store.submit(job)
        until(lambda job=job: job.state == "done", "the file is done")
        # Somebody has looked at it.
        job.frames.add(0, 0, b"somebody")
        store.delete(job)
        held = weakref.ref(job)
        del job
        # Though the one that has masked it waits for another.
        until(lambda: held() is None, "nobody holds it")


def test_no_frame_is_kept_of_a_file_that_fails_while_it_is_read(tmp_path: Path) -> None:
    found = MediaDetections(PHOTO, 512, 512, [])
    job = WebJob(id="", owner="", name="a.jpg", folder=tmp_path, source=PHOTO)
    job.findings = Findings(found, tmp_path)
    assert frame_image(job, None, 0, check_going=lambda: None)

    def fail() -> None:
        job.source = None

    before, job.frames = job.frames, FrameCache()
    assert before.find(0, 0)
    with pytest.raises(StoppedError):
        frame_image(job, None, 0, check_going=fail)
    assert job.frames.find(0, 0) is None


def test_what_the_disk_refuses_is_said_for_whoever_has_chosen_no_folder(tmp_path: Path) -> None:
    job = WebJob(id="", owner="", name="a.jpg", folder=tmp_path, source=PHOTO)
    everything = [*files._REASONS.values(), *errors._EXHAUSTED.values()]
    said = [renamed(f"cannot write {tmp_path}/masked.jpg: {reason}", job) for reason in everything]
    said.append(not_stored(OSError(errno.ENOSPC, "No space left on device")))
    assert [text for text in said if "elsewhere" in text or "choose" in text] == []
    assert said[-1] == "it cannot be stored: the disk is full: free some space, then try again"
    _, _, reason = said[-1].partition(": ")
    assert f"cannot write the result: {reason}" in said
