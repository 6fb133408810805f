"""A server that runs on an image other than the frame's is caught, whichever region it is."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException
from waiting import connect, until

from faceblur.detection import canary, models
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import CanaryError

INTERVAL_S = 0.5
IN_FLIGHT = 4


@pytest.fixture(scope="module")
def server(official: str) -> Iterator[TritonServer]:
    """One that is open to all, as any other Triton of the machine may be."""
    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, jpeg=False, warm_up=False, closed=())
    with TritonServer(options) as started:
        yield started


@pytest.fixture
def empty_street(tmp_path: Path) -> Iterator[str]:
    """An image of the attacker's own, in shared memory."""
    name = f"attacker_{os.getpid()}_{tmp_path.name}"
    path = Path("/dev/shm", name)
    path.write_bytes(bytes(4 << 20))
    yield name
    path.unlink()


@pytest.fixture
def canvas(portrait: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return Letterbox.plan(512, 512).apply(portrait[:, :, ::-1])


@pytest.fixture
def guarded(server: TritonServer) -> Iterator[canary.GuardedDetector]:
    detector = TritonDetector(Connection(address=server.address, transport="shm"))
    opened = canary.GuardedDetector(detector, deadline_s=30, interval_s=INTERVAL_S, routes=detector)
    yield opened
    opened.close()


def _regions_of_frames(client: grpcclient.InferenceServerClient) -> list[Any]:
    regions = client.get_system_shared_memory_status(client_timeout=30).regions
    large = [each for each in regions.values() if each.byte_size > 1 << 19]
    return sorted(large, key=lambda each: str(each.name))


def _fill_regions(
    server: TritonServer, guarded: canary.GuardedDetector, canvas: npt.NDArray[np.uint8]
) -> None:
    """Have a region for each frame in flight: a fast answer frees one before the last is sent."""
    with grpcclient.InferenceServerClient(server.address) as client:

        def are_there() -> bool:
            assert _faces(guarded, canvas) == [1] * IN_FLIGHT
            return len(_regions_of_frames(client)) >= IN_FLIGHT

        until(are_there, f"{IN_FLIGHT} regions")


def _point_elsewhere(server: TritonServer, target: str, *, at_large: int) -> None:
    """Point one of the regions that hold frames at another image, as the attack did."""
    with grpcclient.InferenceServerClient(server.address) as attacker:
        connect(attacker)
        victim = _regions_of_frames(attacker)[at_large]

        def is_unregistered() -> bool:
            # Not while a request has it in use; he tries again.
            with contextlib.suppress(InferenceServerException):
                attacker.unregister_system_shared_memory(victim.name, client_timeout=30)
                return True
            return False

        until(is_unregistered, f"{victim.name} is unregistered")
        attacker.register_system_shared_memory(
            victim.name, f"/{target}", victim.byte_size, client_timeout=30
        )


def _faces(guarded: canary.GuardedDetector, canvas: npt.NDArray[np.uint8]) -> list[int]:
    """How many are found in each of several frames at once; a refusal ends it."""
    sent = [guarded.submit([canvas], min_score=0.5)[0] for _ in range(IN_FLIGHT)]
    wait(sent, 60)
    return [len(future.result()) for future in sent]


def _is_refused(guarded: canary.GuardedDetector, canvas: npt.NDArray[np.uint8]) -> bool:
    """Whether frames are refused."""
    try:
        _faces(guarded, canvas)
    except CanaryError:
        return True
    return False


@pytest.mark.parametrize("at_large", [0, 1, IN_FLIGHT - 1])
def test_each_region_is_looked_through_at_every_canary(
    server: TritonServer,
    guarded: canary.GuardedDetector,
    canvas: npt.NDArray[np.uint8],
    empty_street: str,
    at_large: int,
) -> None:
    _fill_regions(server, guarded, canvas)
    _point_elsewhere(server, empty_street, at_large=at_large)
    until(lambda: _is_refused(guarded, canvas), "the canary finds the region that was moved")
    # The regions are given up, and the next ones are its own again.
    assert guarded.recovered(timeout_s=60)
    assert _faces(guarded, canvas) == [1] * IN_FLIGHT


def test_a_canary_in_a_region_of_its_own_would_not_see_it(
    server: TritonServer,
    guarded: canary.GuardedDetector,
    canvas: npt.NDArray[np.uint8],
    empty_street: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TritonDetector, "submit_by_each", lambda *_, **__: [])
    monkeypatch.setattr(random, "choice", lambda _: None)  # nor one in the shape of frames
    assert _faces(guarded, canvas) == [1] * IN_FLIGHT
    _point_elsewhere(server, empty_street, at_large=0)
    looks: list[bool] = []
    check = guarded._check

    def counted(**how: Any) -> None:
        check(**how)
        looks.append(True)

    monkeypatch.setattr(guarded, "_check", counted)

    def has_looked_often() -> bool:
        assert not _is_refused(guarded, canvas)
        return len(looks) > 4

    until(has_looked_often, "the canary lives, though it has been sent several times")


def test_regions_in_use_are_waited_for_and_do_not_become_more_and_more(
    server: TritonServer, guarded: canary.GuardedDetector, canvas: npt.NDArray[np.uint8]
) -> None:
    def regions() -> int:
        return len(client.get_system_shared_memory_status(client_timeout=30).regions)

    with grpcclient.InferenceServerClient(server.address) as client:
        before = regions()
        for _ in range(3):
            begun = time.monotonic()
            while time.monotonic() - begun < INTERVAL_S:
                assert _faces(guarded, canvas) == [1] * IN_FLIGHT
        # Those of the canary itself, and one for the frame that finds its own being looked through.
        assert regions() - before <= IN_FLIGHT + 3
    assert guarded.failure is None
