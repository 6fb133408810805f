"""Ways in which what a camera depends on can fail, each with how it is undone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faceblur.detection.triton.server import TritonServer
from rig.faulty_servers import FaultyServer, Mode, TcpProxy


@dataclass(frozen=True)
class Services:
    """What the rig's camera depends on; the camera reaches the server through the other two.

    Attributes:
        server: The real one.
        faulty: In front of it.
        network: In front of that; what the camera is given.
    """

    server: TritonServer
    faulty: FaultyServer
    network: TcpProxy


@dataclass(frozen=True)
class Fault:
    """One way to fail.

    Attributes:
        name: As the fault matrix lists it.
        apply: Makes it so.
        undo: Makes everything work again; what recovers by itself needs nothing.
    """

    name: str
    apply: Callable[[Services], None]
    undo: Callable[[Services], None]


def _mode(mode: Mode) -> Callable[[Services], None]:
    return lambda services: services.faulty.set(mode)


def _signal_server(services: Services, number: int) -> None:
    assert services.server.pid is not None
    os.killpg(services.server.pid, number)


def _kill_stubs(services: Services) -> None:
    pid = services.server.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    for child in children.split():
        os.kill(int(child), signal.SIGKILL)


FAULTS: Final = (
    Fault("reply malformed", _mode("malformed"), _mode("pass")),
    Fault("reply without its face count", _mode("lost face count"), _mode("pass")),
    Fault("reply is no message", _mode("garbage"), _mode("pass")),
    Fault("reply for another frame", _mode("other request"), _mode("pass")),
    Fault("deadline missed", _mode("late"), _mode("pass")),
    Fault("server answers with an error", _mode("error"), _mode("pass")),
    Fault("server hangs, and says it is ready", _mode("hang"), _mode("pass")),
    Fault("connection refused", lambda s: s.faulty.refuse(), lambda s: s.faulty.listen()),
    Fault("network cut", lambda s: s.network.cut(), lambda s: s.network.join()),
    Fault("network silent", lambda s: s.network.lose(), lambda s: s.network.join()),
    Fault(
        "server process stopped",
        lambda s: _signal_server(s, signal.SIGSTOP),
        lambda s: s.server.restart(),
    ),
    Fault(
        "stub process killed, and the server says it is ready",
        _kill_stubs,
        lambda s: s.server.restart(),
    ),
    Fault(
        "server killed",
        lambda s: _signal_server(s, signal.SIGKILL),
        lambda s: s.server.restart(),
    ),
)


@contextmanager
def services(server: TritonServer) -> Iterator[Services]:
    """Everything between a camera and a real server."""
    faulty = FaultyServer(server.address)
    network = TcpProxy(faulty.address)
    try:
        yield Services(server, faulty, network)
    finally:
        network.cut()
        faulty.close()
