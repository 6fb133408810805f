"""No unmasked image stays in shared memory, and no other user reads one from there."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from waiting import connect, until

from faceblur.batch import private_folder
from faceblur.detection import canary, models
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton import leftovers, process
from faceblur.detection.triton import shared_memory as shared_slots
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.shared_memory import SHM_FOLDER, remove_abandoned_regions
from faceblur.detection.triton.stub_regions import SHM_PREFIX, StubRegions
from faceblur.errors import ServerError, ServerStartError
from faceblur.owners import is_gone, own_mark

NOBODY = 65534

# Sends an image with its own mark through the server again and again.
CLIENT = """
import sys, time
from faceblur.detection import canary
from faceblur.detection.triton.connection import Connection
from faceblur.owners import own_mark
from faceblur.detection.triton.client import TritonDetector
detector = TritonDetector(Connection(address=sys.argv[1], transport="shm"))
canary.check(detector, deadline_s=60)
print(own_mark(), flush=True)
time.sleep(600)
"""

# As another user: opens whatever region there is under a name, again and again, and says so.
SNOOP = """
import os, sys, time
os.setgid(65534); os.setuid(65534)
folder, prefix, end = "/dev/shm", sys.argv[1], time.monotonic() + 600
print("looking", flush=True)
opened = set()
while time.monotonic() < end and os.getppid() == int(sys.argv[2]):
    names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    for name in names:
        try:
            os.close(os.open(f"{folder}/{name}", os.O_RDONLY))
        except (PermissionError, FileNotFoundError):
            continue
        if name not in opened:
            print("opened", flush=True)
        opened.add(name)
    if names:
        print("tried all", flush=True)
"""


def _named(mark: str) -> list[str]:
    return [path.name for path in SHM_FOLDER.iterdir() if mark in path.name]


def _group(pid: int | None) -> list[str]:
    """The processes of a server."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(path.name)) == pid:
                found.append(path.name)
    assert len(found) >= 3
    return found


def _registered(address: str, mark: str) -> list[str]:
    with open_client(Connection(address=address)) as client:
        connect(client)
        regions = client.get_system_shared_memory_status(client_timeout=30).regions
    return [name for name in regions if mark in name]


def test_nothing_stays_of_a_client_that_is_killed(session: DetectionSession) -> None:
    assert session.server is not None
    address = session.server.address
    watcher = TritonDetector(Connection(address=address, transport="raw"))
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, address], stdout=subprocess.PIPE, text=True
    )
    try:
        assert client.stdout is not None
        mark = client.stdout.readline().strip()
        assert mark
        assert _named(mark) == [], "an image lies under a name"
        assert _registered(address, mark), "it went through shared memory"
        watcher.forget_abandoned_regions()
        assert _registered(address, mark), "its client lives"
        client.kill()
        client.wait()
        watcher.forget_abandoned_regions()
        assert _registered(address, mark) == []
        assert _named(mark) == []
    finally:
        client.kill()
        client.wait()
        watcher.close()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("is_filtered", [True, False])
def test_no_other_user_ever_opens_a_region_of_the_server(
    official: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_filtered: bool,
) -> None:
    if not is_filtered:
        # The umask alone does not help: what the test sees must then be caught.
        launcher = process.LAUNCHER.read_text()
        broken = tmp_path / "launcher.py"
        broken.write_text(launcher.replace("    _disable_fchmod(libc)\n", ""))
        assert broken.read_text() != launcher
        monkeypatch.setattr(process, "LAUNCHER", broken)
    onnx, model = models.find(official)
    prefix = f"{SHM_PREFIX}_{own_mark()}_"
    server = TritonServer(ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False))
    said: list[str] = []
    hide = StubRegions.hide

    def hide_late(regions: StubRegions) -> None:
        # He has his time with the names, however slow he is.
        before = len(said)
        until(lambda: said[before:].count("tried all\n") >= 2, "he tries all regions")
        hide(regions)

    monkeypatch.setattr(StubRegions, "hide", hide_late)
    snoop = subprocess.Popen(
        [sys.executable, "-I", "-c", SNOOP, prefix, str(os.getpid())],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert snoop.stdout is not None
    assert snoop.stdout.readline() == "looking\n"
    listening = threading.Thread(target=said.extend, args=(snoop.stdout,))
    listening.start()
    try:
        with server:
            detector = TritonDetector(Connection(address=server.address))
            canary.check(detector, deadline_s=60)
            detector.submit([np.zeros((1280, 1280, 3), np.uint8)], min_score=0.5)[0].result(60)
            # Where another client of this process makes a region, it has a name for a moment.
            until(lambda: _named(own_mark()) == [], "no image lies under a name")
            detector.close()
            for pid in _group(server.pid):
                dumped = Path("/proc", pid, "coredump_filter").read_text()
                assert int(dumped, 16) == 0, "a crash would write its images to the disk"
    finally:
        snoop.kill()
        listening.join()
        snoop.communicate()
    assert ("opened\n" in said) is not is_filtered
    assert ("other users" in caplog.text) is not is_filtered


def test_regions_are_for_their_owner_alone(
    session: DetectionSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.server is not None
    modes: list[int] = []
    register = grpcclient.InferenceServerClient.register_system_shared_memory

    def look(client: object, name: str, key: str, byte_size: int, **timeout: float) -> None:
        path = SHM_FOLDER / name
        modes.append(path.stat().st_mode & 0o777)
        assert not any(path.read_bytes()), "it is registered empty"
        register(client, name, key, byte_size, **timeout)

    monkeypatch.setattr(grpcclient.InferenceServerClient, "register_system_shared_memory", look)
    before = os.umask(0)
    try:
        detector = TritonDetector(Connection(address=session.server.address, transport="shm"))
        large = np.zeros((640, 640, 3), np.uint8)

        def are_two() -> bool:
            # Where the answer to the first is there before the second asks, they share a region.
            for answer in [detector.submit([large], min_score=0.5)[0] for _ in range(2)]:
                answer.result(60)
            return len(modes) >= 3

        until(are_two, "a region for the beginning, and two for frames")
        detector.close()
    finally:
        os.umask(before)
    assert set(modes) == {0o600}


def test_what_lacks_shared_memory_goes_another_way(
    session: DetectionSession,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert session.server is not None
    address = session.server.address
    detector = TritonDetector(Connection(address=address, transport="shm"))

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with caplog.at_level(logging.WARNING, "faceblur"):
        monkeypatch.setattr(os, "posix_fallocate", full)
        for _ in range(2):
            # No region that there is has room for it.
            large = np.zeros((640, 640, 3), np.uint8)
            detector.submit([large], min_score=0.5)[0].result(60)
            canary.check(detector, deadline_s=60, copies=2)
        detector.close()
        monkeypatch.undo()
        monkeypatch.setattr(shared_slots, "SHM_FOLDER", Path("/nowhere"))
        without = TritonDetector(Connection(address=address))
        assert without.transport in ("raw", "jpeg")
        without.close()
        with pytest.raises(ServerError, match=r"/nowhere cannot be used .*--transport auto"):
            TritonDetector(Connection(address=address, transport="shm"))
    assert len(caplog.records) == 1
    assert "no shared memory is left" in caplog.text


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("missing", "gets no shared memory"),
        ("small", "gets no shared memory"),
        ("closed", "gets no shared memory"),
        ("read-only", "cannot write to /tmp"),
    ],
)
def test_without_what_a_server_needs_detection_is_in_this_process(
    way: str,
    says: str,
    official: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    onnx, model = models.find(official)
    if way == "missing":
        monkeypatch.setattr(shared_slots, "SHM_FOLDER", tmp_path / "none")
    elif way == "small":
        monkeypatch.setattr(os, "statvfs", lambda path: _Small())
    elif way == "closed":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "/tmp")
    with (
        caplog.at_level(logging.WARNING, "faceblur"),
        open_session(SessionOptions(model=official)) as opened,
    ):
        assert opened.kind == "in process"
    (said,) = [record.getMessage() for record in caplog.records]
    assert says in said
    assert "detecting in this process instead" in said
    with pytest.raises(ServerStartError, match=says):
        TritonServer(ServerOptions(onnx=onnx, model=model))


class _Small:
    """64 MB, what Docker gives."""

    f_bavail = 16384
    f_frsize = 4096


def test_a_process_is_known_by_more_than_its_number() -> None:
    mark = own_mark()
    host, boot, space, pid, start = mark.split("-")
    assert not is_gone(mark)
    theirs = f"{space}-{pid}-{int(start) + 1}"
    assert is_gone(f"{host}-{boot}-{theirs}"), "the number belongs to another now"
    assert is_gone(f"00000000-{boot}-{theirs}"), "whatever the machine is called now"
    assert is_gone(f"{host}-00000000-{space}-{pid}-{start}"), "older than the start of the system"
    assert not is_gone(f"00000000-00000000-{space}-{pid}-{start}"), "of another machine"
    assert not is_gone(f"{host}-{boot}-1-{pid}-{start}"), "of another container: who knows"
    assert not is_gone("nonsense")
    child = subprocess.Popen([sys.executable, "-c", _PRINT_MARK], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    theirs = child.stdout.readline().strip()
    assert not is_gone(theirs)
    child.send_signal(signal.SIGKILL)
    until(lambda: is_gone(theirs), "a child that was killed is gone")
    child.wait()
    assert is_gone(theirs)


_PRINT_MARK = (
    "import time; from faceblur.owners import own_mark; "
    "print(own_mark(), flush=True); time.sleep(600)"
)


def test_regions_of_the_dead_are_removed_and_no_others() -> None:
    host, boot, space, pid, start = own_mark().split("-")
    dead = f"{host}-{boot}-{space}-{pid}-{int(start) + 1}"
    gone = [f"faceblur_{dead}_ab", f"faceblur_triton_{dead}_ab_cd"]
    kept = [f"faceblur_{own_mark()}_test", f"faceblur_triton_{own_mark()}_test_cd", f"other_{dead}"]
    try:
        for name in (*gone, *kept):
            (SHM_FOLDER / name).touch()
        remove_abandoned_regions()
        assert [name for name in (*gone, *kept) if (SHM_FOLDER / name).exists()] == kept
    finally:
        for name in (*gone, *kept):
            (SHM_FOLDER / name).unlink(missing_ok=True)


def test_machines_that_share_a_temporary_folder_leave_each_other_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    host, _, *process = own_mark().split("-")
    before = "-".join([host, "0" * 8, *process])
    elsewhere = "-".join(["0" * 8, "0" * 8, *process])
    for mark in (own_mark(), before, elsewhere):
        for prefix in (private_folder.PREFIX, leftovers.FOLDER_PREFIX):
            (tmp_path / f"{prefix}-{mark}-x").mkdir()
            (tmp_path / f"{prefix}-{mark}-x" / "frame").touch()
    private_folder.remove_abandoned()
    leftovers.remove_leftovers()
    kept = {path.name.split("-", 2)[2] for path in tmp_path.iterdir()}
    # What this machine left before it was started again goes.
    assert kept == {f"{own_mark()}-x", f"{elsewhere}-x"}
    assert len(list(tmp_path.iterdir())) == 4
