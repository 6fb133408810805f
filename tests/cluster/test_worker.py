"""A worker in this process: what it refuses, and files in stores, as they come through Ray."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from faceblur.batch.jobs import StoredJob, plan, survey
from faceblur.batch.outcome import RunOptions
from faceblur.cluster.landmarks import landmarks
from faceblur.cluster.worker import Failure, Worker, WorkerFacts, WorkerSetup, key_mark
from faceblur.detection.session import SessionOptions
from faceblur.errors import InputError
from faceblur.proof.audit.chains import AuditChains
from faceblur.stores.address import Address, parse_address
from faceblur.stores.faults import UnreachableError
from faceblur.stores.fsspec_store import store_of

SETUP = WorkerSetup(
    options=RunOptions(workers=1),
    session=SessionOptions(in_process=True, model="fast"),
    size=320,
    media="image",
)


def _refusal(setup: WorkerSetup) -> str:
    said = Worker().open(setup, (), None)
    assert isinstance(said, Failure)
    assert said.is_certain
    return said.reason


def test_a_machine_that_lacks_something_says_what(
    tmp_path: Path, portrait: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "install the same on all machines" in _refusal(replace(SETUP, version="0.0"))
    source = tmp_path / "in" / "a.png"
    source.parent.mkdir()
    cv2.imwrite(str(source), portrait)
    seen = landmarks(plan([str(source.parent)], tmp_path / "out"))
    assert seen == landmarks(plan([str(source.parent)], tmp_path / "out"))
    (mark,) = (path for path in seen if path != source)
    lost = f"it does not see {tmp_path / 'out'} as it is"
    elsewhere = mark.rename(tmp_path / "elsewhere")
    assert lost in _refusal(replace(SETUP, landmarks=seen))
    # Another folder under the same name, such as a mount that is not there, has its own mark.
    others = landmarks(plan([str(source.parent)], tmp_path / "out"))
    assert lost in _refusal(replace(SETUP, landmarks=seen))
    # The key of an audit is not sent; whether a machine has it is.
    place = AuditChains(tmp_path / "record", key=b"key").place
    sealed = replace(SETUP, chains=place, key_mark=key_mark(b"key", place.audit))
    assert b"key" not in pickle.dumps(sealed.key_mark)
    # Where two begin a folder at the same time, what each has made there holds.
    elsewhere.rename(mark)
    for each in (seen, others):
        assert "set FACEBLUR_AUDIT_KEY" in _refusal(replace(sealed, landmarks=each))
    source.unlink()
    assert f"it does not see {source.parent} as it is" in _refusal(replace(SETUP, landmarks=seen))
    assert "set FACEBLUR_AUDIT_KEY to the same" in _refusal(sealed)
    monkeypatch.setenv("FACEBLUR_AUDIT_KEY", "another")
    assert "set FACEBLUR_AUDIT_KEY to the same" in _refusal(sealed)


def test_a_store_that_does_not_answer_is_no_reason_to_give_a_file_up() -> None:
    # Of a cluster with one machine too, which tries what is certain once.
    assert not Failure.of(UnreachableError("gone for now")).is_certain
    assert Failure.of(InputError("no image")).is_certain


def test_workers_may_share_a_server(bundled_server: str) -> None:
    worker = Worker()
    said = worker.open(replace(SETUP, session=SessionOptions(server=bundled_server)), (), None)
    worker.close()
    assert isinstance(said, WorkerFacts), said
    assert bundled_server in said.detector


def test_files_of_stores_are_masked_by_what_was_sent(portrait: npt.NDArray[np.uint8]) -> None:
    place = parse_address("memory://cluster/in/a.png")
    assert isinstance(place, Address)
    store_of(place).write(place, cv2.imencode(".png", portrait)[1].tobytes())
    into = parse_address("memory://cluster/out/")
    assert isinstance(into, Address)
    (job,) = survey(["memory://cluster/in/"], into).jobs
    setup, sent = pickle.loads(pickle.dumps((SETUP, job)))
    assert isinstance(sent, StoredJob)
    worker = Worker()
    assert isinstance(worker.open(setup, (), None), WorkerFacts)
    try:
        result = worker.attempt(sent)
        assert (result.failure, result.faces, result.skipped) == (None, 1, False)
        (again,) = survey(["memory://cluster/in/"], into).jobs
        assert worker.attempt(again).skipped
    finally:
        worker.close()
    made = store_of(into).read(into / "a.png")
    assert made is not None
    image = cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_COLOR)
    assert (image != portrait).any()


@pytest.mark.skipif(sys.platform != "linux", reason="cores are kept on Linux alone")
def test_a_worker_keeps_to_its_cores_with_all_its_threads() -> None:
    script = (
        "import os, threading, pathlib, faceblur.cluster.worker as w\n"
        "wait = threading.Event(); threading.Thread(target=wait.wait).start()\n"
        "had = sorted(os.sched_getaffinity(0)); w._pin(slice(0, 1))\n"
        "tasks = [int(t.name) for t in pathlib.Path('/proc/self/task').iterdir()]\n"
        "print({tuple(os.sched_getaffinity(t)) for t in tasks} == {tuple(had[:1])}); wait.set()"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "True\n"
