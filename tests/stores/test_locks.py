"""Two commands that would do the same work in a store, and one that died at it."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from buckets import Bucket
from faulty_door import FaultyDoor
from waiting import until

from faceblur.batch import stored_lock
from faceblur.batch.jobs import StoredJob
from faceblur.batch.stored_lock import StoredLock
from faceblur.cli.spreading import swept
from faceblur.errors import OutputError
from faceblur.stores.address import Address, parse_address
from faceblur.stores.fsspec_store import store_of

LOCK = "out/.faceblur/lock"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_lock, "BEAT_S", 0.05)
    monkeypatch.setattr(stored_lock, "LOOK_S", 0.02)


@pytest.fixture
def tree(door: FaultyDoor, bucket: Bucket) -> Address:
    found = parse_address(f"s3://{bucket.name}/out")
    assert found is not None
    return found


def died(lock: StoredLock) -> None:
    """Let the owner of a lock end as one does that is killed."""
    lock._ended.set()
    assert lock._thread is not None
    lock._thread.join()


def test_one_command_at_a_time_writes_to_a_folder_of_a_store(
    tree: Address, bucket: Bucket, tmp_path: Path
) -> None:
    whole = StoredJob(tmp_path / "a.png", tree / "a.png", "image", tree=tree)
    single = StoredJob(tmp_path / "a.png", tree / "a.png", "image")
    for job, place in ((whole, tree), (single, tree / "a.png")):
        with swept([job]):
            with pytest.raises(OutputError, match=f"writes to {re.escape(str(place))}: wait"):
                swept([job]).__enter__()
            with swept([StoredJob(tmp_path / "b.png", tree / "b.png", "image")]):
                pass
        with swept([job]):
            pass
    left = bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", [])
    assert left == []


def test_the_lock_of_a_command_that_died_is_taken_once_it_was_silent(
    tree: Address, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead, other, late = (StoredLock(tree, tree / "a.png") for _ in range(3))
    dead.acquire()
    died(dead)
    monkeypatch.setattr(stored_lock, "SILENT_S", 0.2)
    other.acquire()
    assert bucket.get(LOCK).startswith(other._mark)
    # One that only slept finds out, and leaves the lock alone.
    dead._ended.clear()
    dead._beat()
    assert "both go on, and do the same work" in caplog.text
    dead.release()
    monkeypatch.setattr(stored_lock, "SILENT_S", 30)
    with pytest.raises(OutputError, match="another faceblur writes"):
        late.acquire()
    # Whoever waits has it as soon as it is given back.
    died(other)
    caplog.clear()
    waiting = threading.Thread(target=late.acquire)
    waiting.start()
    until(lambda: "waiting up to 30 s" in caplog.text, "somebody waits")
    other.release()
    waiting.join(60)
    assert not waiting.is_alive()
    assert bucket.get(LOCK).startswith(late._mark)
    late.release()
    assert store_of(tree).read(tree / ".faceblur/lock") is None


def test_of_two_that_outlast_a_dead_owner_one_has_the_lock(
    tree: Address, bucket: Bucket, door: FaultyDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_lock, "SILENT_S", 0.1)
    bucket.put(LOCK, b"of one that died")
    other = StoredLock(tree, tree / "b.png")

    def come_first(method: str, path: str) -> str:
        """Let the other have taken the lock when anything is done to it."""
        # Past the first try, which finds that there is one.
        is_taking = method == "DELETE" or (method == "PUT" and door.condition)
        if is_taking and bucket.get(LOCK) == b"of one that died":
            bucket.put(LOCK, other._mark)
        return "pass"

    door.judge = come_first
    with pytest.raises(OutputError, match="another faceblur writes"):
        StoredLock(tree, tree / "a.png").acquire()
    assert bucket.get(LOCK) == other._mark


def test_an_owner_that_slept_does_not_take_the_lock_back(
    tree: Address, bucket: Bucket, door: FaultyDoor, caplog: pytest.LogCaptureFixture
) -> None:
    lock = StoredLock(tree, tree / "a.png")
    lock.acquire()
    died(lock)

    def take_between(method: str, path: str) -> str:
        if method == "PUT" and bucket.name in path:
            bucket.put(LOCK, b"of another")
            lock._ended.set()
        return "pass"

    # It has seen its own mark when another one takes its place.
    door.judge = take_between
    for _ in range(2):
        lock._ended.clear()
        lock._beat()
        assert bucket.get(LOCK) == b"of another"
    assert "both go on, and do the same work" in caplog.text


@pytest.mark.parametrize("silent", [False, True])
def test_where_nobody_can_tell_the_work_begins(
    tree: Address,
    bucket: Bucket,
    door: FaultyDoor,
    silent: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(stored_lock, "SILENT_S", 0.1)
    if silent:
        bucket.put(LOCK, b"of one that died")
    door.judge = lambda method, path: "pass" if method in ("GET", "HEAD") else "deny"
    lock = StoredLock(tree, tree / "a.png")
    lock.acquire()
    assert "maybe another faceblur writes to" in caplog.text
    lock.release()


def test_an_owner_goes_on_to_say_that_it_is_there(
    tree: Address, bucket: Bucket, door: FaultyDoor
) -> None:
    lock = StoredLock(tree, tree / "a.png")
    lock.acquire()
    left = door.once([("PUT", "lock")], "deny")
    until(lambda: not left, "it is refused")
    seen = bucket.get(LOCK)
    until(lambda: bucket.get(LOCK) != seen, "it says that it is there")
    lock.release()
    assert store_of(tree).read(tree / ".faceblur/lock") is None
