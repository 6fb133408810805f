"""Several servers under one address: requests go to those that are up, by gRPC's own means."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from waiting import frozen, until

from faceblur.detection import models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.detections import Detections
from faceblur.errors import InputError

DEADLINE_S = 20.0


@pytest.fixture
def servers(official: str) -> Iterator[list[TritonServer]]:
    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, instances=2, threads=1)
    with TritonServer(options) as first, TritonServer(options) as second:
        yield [first, second]


@pytest.fixture
def canvas(portrait: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])


def _several(servers: list[TritonServer], **options: object) -> Connection:
    address = "ipv4:" + ",".join(server.address for server in servers)
    return Connection(address=address, deadline_s=DEADLINE_S, **options)


def _cpu_s(server: TritonServer) -> float:
    """CPU that a server and its models have used, seconds: whether it is working."""
    assert server.pid is not None
    return sum(_process_cpu_s(pid) for pid in [server.pid, *_backends(server)])


def _process_cpu_s(pid: int) -> float:
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _backends(server: TritonServer) -> list[int]:
    children = Path("/proc", str(server.pid), "task", str(server.pid), "children").read_text()
    return [int(pid) for pid in children.split()]


def test_frames_go_on_when_one_of_two_servers_is_killed_or_broken(
    servers: list[TritonServer], canvas: npt.NDArray[np.uint8]
) -> None:
    detector = TritonDetector(_several(servers))
    try:
        for server in servers:
            # A connection to each is there.
            _wait_until_it_works(server, detector, canvas)
        before = [_cpu_s(server) for server in servers]
        _all_found(detector, canvas, frames=30)
        used = [_cpu_s(server) - start for server, start in zip(servers, before, strict=True)]
        assert min(used) > 0.3 * max(used), f"both should work, they took {used} s of CPU"

        assert servers[0].pid is not None
        # While it stands still nothing is answered that it was sent.
        with frozen(servers[0].pid, *_backends(servers[0])):
            under_way = [detector.submit([canvas], min_score=0.5)[0] for _ in range(6)]
            until(lambda: sum(map(Future.done, under_way)) == 3, "the other one answers its own")
            os.killpg(servers[0].pid, signal.SIGKILL)
        for future in under_way:
            assert len(future.result(DEADLINE_S)) == 1
        _all_found(detector, canvas, frames=30)

        servers[0].restart()
        _wait_until_it_works(servers[0], detector, canvas)

        # It goes on saying that it is ready, and takes its share of the frames.
        _kill_python_backend(servers[0])
        _all_found(detector, canvas, frames=12)
    finally:
        detector.close()


def _kill_python_backend(server: TritonServer) -> None:
    backends = _backends(server)
    assert backends
    for pid in backends:
        os.kill(pid, signal.SIGKILL)


def _all_found(detector: TritonDetector, canvas: npt.NDArray[np.uint8], *, frames: int) -> None:
    futures: list[Future[Detections]] = []
    for _ in range(frames):
        futures.append(detector.submit([canvas], min_score=0.5)[0])
        if len(futures) == 2:
            assert len(futures.pop(0).result(DEADLINE_S)) == 1
    assert len(futures.pop().result(DEADLINE_S)) == 1


def _wait_until_it_works(
    server: TritonServer, detector: TritonDetector, canvas: npt.NDArray[np.uint8]
) -> None:
    start = _cpu_s(server)

    def works() -> bool:
        _all_found(detector, canvas, frames=4)
        return _cpu_s(server) - start >= 0.1

    until(works, f"the server at {server.address} is asked, too")


def test_shared_memory_with_several_servers_is_refused() -> None:
    with pytest.raises(InputError, match="belongs to one server"):
        Connection(address="dns:///triton.example:8001", transport="shm")


@pytest.mark.parametrize(
    ("address", "several"),
    [
        ("localhost:8001", False),
        ("[::1]:8001", False),
        ("dns:///triton.example:8001", True),
        ("dns://resolver.example/triton.example:8001", True),
        ("ipv4:10.0.0.1:8001,10.0.0.2:8001", True),
    ],
)
def test_addresses(address: str, several: bool) -> None:
    assert Connection(address=address).is_several is several


@pytest.mark.parametrize(
    "address",
    ["localhost", "http://localhost:8000", "a:8001,b:8001", "dns:///", "dns:///host", "localhost:0",
     "localhost:65536", "ipv4:10.0.0.1:65536,10.0.0.2:8001"],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(address))):
        Connection(address=address)
