"""Who is on the machine, but not its server's user, can neither move nor watch what it sees."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException
from waiting import connect, until

from faceblur.detection import models
from faceblur.detection import session as sessions
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.session import SessionOptions
from faceblur.detection.triton import process, server_token
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.client import ENSEMBLE, TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.loopback import stranger_at
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.owners import own_mark

NOBODY = 65534


class Watcher:
    """Reads the command lines of this process's children, as anybody may, again and again."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def saw(self, word: bytes) -> bool:
        """Whether a command line had a word in it, of a process that may run still."""
        return any(word in line for line in self.seen.copy())

    def _watch(self) -> None:
        known: list[Path] = []
        is_over = False
        # Once more at the end: what runs by then is seen for certain.
        while not is_over:
            is_over = self._stop.wait(0.0005)
            pids = [
                pid
                for task in Path("/proc/self/task").iterdir()
                for pid in _read(task / "children").split()
            ]
            known += [path for pid in pids if (path := Path("/proc", pid.decode())) not in known]
            self.seen |= {_read(path / "cmdline") for path in known}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _options(official: str, **changes: bool) -> ServerOptions:
    onnx, model = models.find(official)
    return ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False, **changes)


@pytest.fixture(scope="module")
def watched(official: str) -> Iterator[tuple[TritonServer, set[bytes]]]:
    """A server, and the command lines that were to be seen while it started."""
    server = TritonServer(_options(official))
    with Watcher() as watcher:
        server.start()
    yield server, watcher.seen
    server.stop()


@pytest.fixture(scope="module")
def server(watched: tuple[TritonServer, set[bytes]]) -> TritonServer:
    return watched[0]


def _attacks(client: grpcclient.InferenceServerClient) -> dict[str, Callable[[], object]]:
    return {
        "list": lambda: client.get_system_shared_memory_status(client_timeout=30),
        "unregister one": lambda: client.unregister_system_shared_memory("a", client_timeout=30),
        "unregister all": lambda: client.unregister_system_shared_memory(client_timeout=30),
        "register": lambda: client.register_system_shared_memory(
            "a", "/faceblur_a", 64, client_timeout=30
        ),
        "register CUDA": lambda: client.unregister_cuda_shared_memory(client_timeout=30),
        "repository": lambda: client.get_model_repository_index(client_timeout=30),
        "load": lambda: client.load_model(ENSEMBLE, client_timeout=30),
        "unload": lambda: client.unload_model(ENSEMBLE, client_timeout=30),
        "trace": lambda: client.update_trace_settings(
            settings={"trace_level": ["TENSORS"]}, client_timeout=30
        ),
        "log": lambda: client.update_log_settings({"log_verbose_level": 4}, client_timeout=30),
        "statistics": lambda: client.get_inference_statistics(client_timeout=30),
    }


def _refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except InferenceServerException as error:
        return str(error)
    return "it was done"


@pytest.mark.parametrize("token", [None, "0" * 64])
def test_a_stranger_cannot_move_regions_or_turn_on_traces(
    server: TritonServer, portrait: npt.NDArray[np.uint8], token: str | None
) -> None:
    detector = TritonDetector(Connection(address=server.address))
    canvas = Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])
    with grpcclient.InferenceServerClient(server.address) as stranger:
        if token is not None:
            stranger.register_plugin(server_token.Opener(token))
        for name, attack in _attacks(stranger).items():
            assert "protocol is restricted" in _refusal(attack), name
            assert len(detector.submit([canvas], min_score=0.5)[0].result(30)) == 1
        # What he can do is ask for faces.
        assert stranger.is_model_ready(ENSEMBLE, client_timeout=30)
    assert detector.transport == "shm"
    detector.close()


def test_its_user_can(server: TritonServer) -> None:
    with open_client(Connection(address=server.address)) as client:
        connect(client)
        client.get_system_shared_memory_status(client_timeout=30)
        client.get_inference_statistics(client_timeout=30)


def test_the_token_is_never_to_be_seen(watched: tuple[TritonServer, set[bytes]]) -> None:
    server, seen = watched
    assert server.token is not None
    assert any(b"tritonserver\0" in line and b"--grpc-port" in line for line in seen)
    for line in seen:
        assert server.token.encode() not in line
        assert b"grpc-restricted-protocol" not in line
    assert server.token not in server.log
    file = Path(os.environ["FACEBLUR_CACHE"], "servers", server.address.rpartition(":")[2])
    assert server.token in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        for name in ("environ", "mem", "maps"):
            spied = subprocess.run(
                ["cat", f"/proc/{server.pid}/{name}"],
                user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, check=False,
            )  # fmt: skip
            assert not spied.stdout
            assert b"ermission denied" in spied.stderr


def test_where_a_command_line_cannot_be_hidden_no_memory_is_shared(
    official: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = process.LAUNCHER.read_text()
    refused = tmp_path / "launcher.py"
    refused.write_text(launcher.replace("libc.ptrace(_PTRACE_TRACEME, 0, 0, 0) != 0", "True"))
    assert refused.read_text() != launcher
    monkeypatch.setattr(process, "LAUNCHER", refused)
    with Watcher() as watcher, TritonServer(_options(official)) as server:
        # It has it on its command line as long as it runs.
        until(lambda: watcher.saw(b"grpc-restricted-protocol"), "the command line is seen")
        assert server.token is None
        assert server_token.find(server.address) is None
        detector = TritonDetector(Connection(address=server.address))
        assert detector.transport == "raw"
        detector.close()


STOP = """
    if os.fork() == 0:
        while open(f"/proc/{os.getppid()}/stat").read().rpartition(")")[2].split()[0] not in "tT":
            pass
        os.kill(os.getppid(), signal.SIGCONT)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.parametrize("before", ["    os.umask(", "    os.execv("])
def test_who_stops_it_on_its_way_to_the_first_instruction_reveals_nothing(
    official: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    stopped = tmp_path / "launcher.py"
    stopped.write_text(process.LAUNCHER.read_text().replace(before, STOP + before))
    assert STOP in stopped.read_text()
    monkeypatch.setattr(process, "LAUNCHER", stopped)
    with Watcher() as watcher, TritonServer(_options(official)) as server:
        assert server.token is not None
        assert server_token.find(server.address) == server.token
    assert watcher.saw(b"--grpc-port")
    assert not watcher.saw(b"grpc-restricted-protocol")


def test_a_token_goes_with_its_server(official: str) -> None:
    with TritonServer(_options(official)) as server:
        address, token = server.address, server.token
        assert token is not None
        assert server_token.find(address) == token
        server.restart()
        assert server_token.find(address) == token
    assert server_token.find(address) is None
    server_token.save(1, "abc")
    file = Path(os.environ["FACEBLUR_CACHE"], "servers", "1")
    process, _, began = own_mark().rpartition("-")
    file.write_text(f"{process}-{int(began) + 1} abc")
    server_token.save(2, "def")
    assert not file.exists(), "its server was killed"
    assert server_token.find("10.0.0.1:2") is None, "not to another machine"
    server_token.remove(2, "abc")
    assert server_token.find("127.0.0.1:2") == "def"
    server_token.remove(2, "def")
    assert server_token.find("127.0.0.1:2") is None


def test_images_never_go_to_a_server_that_another_user_has_put_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        listening = socket.create_server(("127.0.0.1", 0))
    finally:
        if root:
            os.seteuid(0)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    with listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(sessions, "DEFAULT_SERVER", f"localhost:{port}")
        assert sessions._local(SessionOptions(deadline_s=1), 640, "image") is None
    assert "another user of this machine" in caplog.text
    with socket.create_server(("127.0.0.1", 0)) as own:
        monkeypatch.undo()
        assert stranger_at(own.getsockname()[1]) is None
