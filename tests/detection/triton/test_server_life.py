"""How an embedded server starts, hangs and ends, and what its processes leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from waiting import frozen, until

from faceblur.detection import canary, models
from faceblur.detection.letterbox import Letterbox, canonical_shapes
from faceblur.detection.session import DetectionSession
from faceblur.detection.triton import server as server_module
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.leftovers import execution_environments, remove_leftovers
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detection.triton.shared_memory import SHM_FOLDER
from faceblur.errors import CanaryError, ServerError, ServerStartError
from faceblur.owners import own_mark
from rig.ports import free_port


@pytest.fixture
def own_server(official: str) -> Iterator[TritonServer]:
    """A server that a test may break."""
    onnx, model = models.find(official)
    with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
        yield server


def test_every_canonical_shape_is_warmed_up_unless_somebody_waits_for_the_server(
    own_server: TritonServer, session: DetectionSession
) -> None:
    assert session.server is not None
    assert _warm(own_server) == set(canonical_shapes())
    assert _warm(session.server) == set()


def _warm(server: TritonServer) -> set[tuple[int, ...]]:
    with grpcclient.InferenceServerClient(server.address) as client:
        config = client.get_model_config("yolov5_face", client_timeout=30).config
    return {tuple(warmup.inputs["images"].dims)[:2] for warmup in config.model_warmup}


def test_a_taken_port_is_a_clear_error(session: DetectionSession, official: str) -> None:
    assert session.server is not None
    onnx, model = models.find(official)
    port = int(session.server.address.rpartition(":")[2])
    with pytest.raises(ServerStartError, match="--port"):
        TritonServer(ServerOptions(onnx=onnx, model=model, port=port)).start()


def test_a_port_that_somebody_took_meanwhile_is_given_up_for_another(
    session: DetectionSession, official: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a server listens there that is ready: it is not taken for this one."""
    assert session.server is not None
    taken, free = int(session.server.address.rpartition(":")[2]), free_port()
    found = iter((taken, free))
    monkeypatch.setattr(server_module, "free_port", lambda _: next(found))
    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False)
    # Triton's own end, where a process of its was held up.
    held_up = [ServerStartError("it did not start: what(): boost::interprocess::lock_exception")]
    start = TritonServer._start

    def start_late(server: TritonServer) -> None:
        if held_up:
            raise held_up.pop()
        start(server)

    monkeypatch.setattr(TritonServer, "_start", start_late)
    with TritonServer(options) as server:
        assert not held_up
        assert server.address == f"127.0.0.1:{free}"
        TritonDetector(Connection(address=server.address)).close()


def test_a_server_that_cannot_load_its_model_shows_why(official: str, tmp_path: Path) -> None:
    _, model = models.find(official)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ServerStartError, match="did not start"):
        TritonServer(ServerOptions(onnx=broken, model=model)).start()


def test_a_server_that_crashes_while_it_starts_gets_one_more_try(
    official: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx, model = models.find(official)
    server = TritonServer(ServerOptions(onnx=onnx, model=model))
    pids: list[int] = []
    wait = server._wait_until_ready

    def crash() -> None:
        assert server.pid is not None
        pids.append(server.pid)
        if len(pids) < crashes:
            os.kill(server.pid, signal.SIGABRT)
        wait()

    monkeypatch.setattr(server, "_wait_until_ready", crash)
    crashes = 3
    with pytest.raises(ServerStartError, match="did not start"):
        server.start()
    assert (len(set(pids)), server.pid) == (2, None)
    pids.clear()
    crashes = 2
    with server:
        assert pids[-1] == server.pid
    assert len(pids) == 2


def test_a_dead_stub_is_seen_by_the_canary_though_the_server_says_ready(
    own_server: TritonServer, portrait: npt.NDArray[np.uint8]
) -> None:
    connection = Connection(address=own_server.address, deadline_s=30)
    detector = TritonDetector(connection)
    guarded = canary.GuardedDetector(
        detector, deadline_s=30, interval_s=600, revive=own_server.restart
    )
    try:
        canvas = Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])
        assert len(guarded.submit([canvas], min_score=0.5)[0].result(30)) == 1
        _kill_stubs(own_server)
        with grpcclient.InferenceServerClient(own_server.address) as client:
            assert client.is_server_ready(client_timeout=30)
            assert client.is_model_ready("face_detection", client_timeout=30)
        with pytest.raises(CanaryError):
            canary.check(detector, deadline_s=30)
        assert guarded.recovered(timeout_s=60)
        assert len(guarded.submit([canvas], min_score=0.5)[0].result(30)) == 1
    finally:
        guarded.close()


def test_a_killed_server_takes_its_stubs_and_their_images_with_it(
    own_server: TritonServer,
) -> None:
    assert own_server.pid is not None
    children = _children(own_server)
    assert len([name for name in children.values() if name.startswith("triton_python")]) >= 2
    os.kill(own_server.pid, signal.SIGKILL)
    until(
        lambda: not any(_alive(str(pid)) for pid in children),
        f"all of {children} end with their server",
    )


def test_a_server_that_hangs_is_a_missed_deadline(
    own_server: TritonServer, portrait: npt.NDArray[np.uint8]
) -> None:
    address, canvas = own_server.address, np.zeros((384, 640, 3), np.uint8)
    detector = TritonDetector(Connection(address=address))
    raw = TritonDetector(Connection(address=address, transport="raw"))
    try:
        for each in (detector, raw):
            # They are opened, and have their regions, without hurry.
            assert len(each.submit([canvas], min_score=0.5)[0].result(30)) == 0
            each.connection = replace(each.connection, deadline_s=1.0)
        assert own_server.pid is not None
        with frozen(own_server.pid, *_children(own_server)):
            # Each image of a request may take as long as one alone.
            together = raw.submit([canvas] * 2, min_score=0.5)
            with pytest.raises(ServerError, match="within 1 s"):
                detector.submit([canvas], min_score=0.5)[0].result(30)
            for future in together:
                with pytest.raises(ServerError, match="within 2 s"):
                    future.result(30)
    finally:
        detector.close()
        raw.close()


def test_nothing_is_left_when_the_server_stops(
    official: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx, model = models.find(official)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for _ in range(12):
        packages = execution_environments()
        with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
            pid = server.pid
            detector = TritonDetector(Connection(address=server.address))
            detector.close()
            assert list(tmp_path.iterdir())
        assert list(tmp_path.iterdir()) == []
        # Where another server starts at the same time, nobody can tell whose folder is whose.
        if execution_environments() <= packages:
            break
    else:
        pytest.fail("folders of packages are left")
    # Where another client of this process makes a region, it has a name for a moment.
    until(
        lambda: not [path for path in SHM_FOLDER.iterdir() if own_mark() in path.name],
        "nothing of it lies under a name",
    )
    assert not Path("/proc", str(pid)).exists()


def test_the_server_dies_with_a_parent_that_is_killed(
    official: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A folder of its own: any server that starts beside it clears the common one up.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    script = (
        "import sys, time\n"
        "from faceblur.detection import models\n"
        "from faceblur.detection.triton.server import TritonServer\n"
        "from faceblur.detection.triton.server_options import ServerOptions\n"
        f"onnx, model = models.find({official!r})\n"
        "server = TritonServer(ServerOptions(onnx=onnx, model=model))\n"
        "server.start()\n"
        "sys.stdout.write(f'{server.pid}\\n'); sys.stdout.flush()\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    server_pid = parent.stdout.readline().strip()
    parent.kill()
    parent.wait()
    until(lambda: not _alive(server_pid), "the server ends with its parent")
    assert not [path for path in SHM_FOLDER.iterdir() if f"-{parent.pid}-" in path.name]
    left = list(Path(tempfile.gettempdir()).glob(f"faceblur-triton-*-{parent.pid}-*"))
    remove_leftovers()
    assert [path.exists() for path in left] == [False]


def test_what_killed_processes_left_behind_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    live = f"faceblur-triton-{own_mark()}-abc"
    before, _, start = own_mark().rpartition("-")
    left = f"faceblur-triton-{before}-{int(start) + 1}-abc"
    for name in (left, live, "faceblur-triton-mine", "other"):
        (tmp_path / name / "models").mkdir(parents=True)
    stubs = []
    for name in (left, live):
        stub = tmp_path / name / "stub"
        stub.symlink_to("/bin/sleep")
        stubs.append(subprocess.Popen([stub, "600"]))
    remove_leftovers()
    assert {path.name for path in tmp_path.iterdir()} == {live, "faceblur-triton-mine", "other"}
    assert stubs[0].wait(60) == -signal.SIGKILL
    assert stubs[1].poll() is None, "its server is at work"
    stubs[1].kill()
    stubs[1].wait()


def _kill_stubs(server: TritonServer) -> None:
    stubs = [pid for pid, name in _children(server).items() if name.startswith("triton_python")]
    assert stubs
    for pid in stubs:
        os.kill(pid, signal.SIGKILL)


def _children(server: TritonServer) -> dict[int, str]:
    """The names of a server's child processes, by their ids."""
    pids = Path("/proc", str(server.pid), "task", str(server.pid), "children").read_text().split()
    return {int(pid): Path("/proc", pid, "comm").read_text().strip() for pid in pids}


def _alive(pid: str) -> bool:
    stat = Path("/proc", pid, "stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
