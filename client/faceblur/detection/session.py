"""Open a detector that can be trusted: a given server, a local one, an embedded one, or none."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faceblur.detection import models, runtimes
from faceblur.detection.canary import GuardedDetector
from faceblur.detection.crowds import CrowdDetector
from faceblur.detection.detector import ModelInfo
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.letterbox import rounded_size
from faceblur.detection.models import Media, automatic_model
from faceblur.detection.options import DEFAULT_SIZE, MAX_SIDE
from faceblur.detection.runtimes import Choice
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import DEFAULT_SERVER, TLS, Connection, Transport
from faceblur.detection.triton.leftovers import remove_leftovers
from faceblur.detection.triton.loopback import stranger_at
from faceblur.detection.triton.ports import accepts_connections
from faceblur.detection.triton.runtime import server_share
from faceblur.detection.triton.server import TritonServer, require_server
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import ModelError, ServerError, ServerStartError, ServerUnavailableError

logger = logging.getLogger(__name__)

Kind = Literal["server", "embedded", "in process"]
REVIVAL_TIMEOUT_S = 90.0
_PATIENCE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Which detector to open.

    Attributes:
        server: host:port of a Triton server; None takes one of this machine, else starts one.
        model: Name of a model or path of an ONNX file; None is whatever a server serves, else
            what `faceblur.detection.models.automatic_model` names.
        tls: Encryption of the connection to `server`.
        deadline_s: Seconds that one frame may take.
        transport: How images travel to a server.
        in_process: Use no server at all. It starts sooner and takes less CPU time, but shares
            its memory with whatever decodes the file.
    """

    server: str | None = None
    model: str | None = None
    tls: TLS | None = None
    deadline_s: float = 10.0
    transport: Transport = "auto"
    in_process: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionSession:
    """An open detector and what has to be cleaned up with it; a context manager.

    Attributes:
        detector: Checked with a canary, and every few seconds again.
        kind: Where it runs.
        place: The same for a person to read.
        server: The embedded one, where there is one.
        tools: Versions of what it runs on, as far as they are known.
        in_flight: How many requests it is worth sending at once.
    """

    detector: GuardedDetector
    kind: Kind
    place: str
    server: TritonServer | None = None
    tools: Mapping[str, str]
    in_flight: int = 4

    @property
    def model(self) -> ModelInfo:
        """The model that answers."""
        return self.detector.model

    @property
    def where(self) -> str:
        """Where it runs and what really runs it, for a person: a restart can change that."""
        return (
            self.place
            if self.server is None
            else f"{self.place}, {self.server.options.choice.where}"
        )

    def recovered(self, *, stop: threading.Event | None = None) -> bool:
        """After a failure: whether frames can be checked again, waiting for a restart or `stop`."""
        deadline = time.monotonic() + REVIVAL_TIMEOUT_S
        while not (stop is not None and stop.is_set()) and time.monotonic() < deadline:
            if self.detector.recovered(timeout_s=_PATIENCE_S):
                return True
        return False

    def close(self) -> None:
        """Close the detector and stop an embedded server."""
        self.detector.close()
        if self.server is not None:
            self.server.stop()

    def __enter__(self) -> DetectionSession:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_session(
    options: SessionOptions, *, size: int = DEFAULT_SIZE, media: Media = "image"
) -> DetectionSession:
    """Open a detector and prove that it sees.

    With a server named, that one or none. Otherwise the local server if one answers with the
    wanted model, else an embedded one, else (where that cannot run, or where it was asked for)
    this process.

    What it will be asked about has a longest side of `size` pixels; `media` is what that is, which
    decides where no model is named, and what a server does first: cameras wait for nobody's files.

    Raises:
        ServerError: No frame could be checked, or none of that size.
        ModelError: The wanted model is not there.
    """
    remove_leftovers()
    if options.server is not None:
        return _remote(options, options.server, size, media)
    session = None if options.in_process else _local(options, size, media)
    if session is not None:
        return session
    onnx, model = models.find(options.model or automatic_model(media))
    if options.in_process:
        return _in_process(options, onnx, model)
    # Images come by shared memory; a process for JPEG would only cost memory.
    jpeg = options.transport == "jpeg"
    max_side = max(MAX_SIDE, rounded_size(size, stride=model.stride))
    choice = runtimes.choose(onnx)
    server = ServerOptions(
        onnx=onnx,
        model=model,
        jpeg=jpeg,
        warm_up=False,
        max_side=max_side,
        choice=choice,
        instances=choice.instances or server_share()[0],
    )
    try:
        require_server(server.all_instances)
    except ServerStartError as error:
        logger.warning("%s; detecting in this process instead, with the same model", error)
        return _in_process(options, onnx, model, choice)
    return _embedded(options, server)


def _in_process(
    options: SessionOptions, onnx: Path, model: ModelInfo, choice: Choice | None = None
) -> DetectionSession:
    inner = InProcessDetector(onnx, model=model, choice=choice or runtimes.choose(onnx))
    return DetectionSession(
        detector=GuardedDetector(CrowdDetector(inner), deadline_s=options.deadline_s),
        kind="in process",
        place=f"this process, {inner.choice.where}",
        tools=_versions(*inner.choice.packages),
    )


def _remote(options: SessionOptions, address: str, size: int, media: Media) -> DetectionSession:
    connection = Connection(
        address=address,
        tls=options.tls,
        deadline_s=options.deadline_s,
        transport=options.transport,
        priority="live" if media == "camera" else "batch",
        # One that was found on this machine is this user's own.
        is_shared=options.server is not None,
    )
    with contextlib.ExitStack() as undo:
        detector = TritonDetector(connection)
        undo.callback(detector.close)
        wanted = options.model
        if wanted is not None and not models.matches(detector.model, wanted):
            raise ModelError(
                f"the server at {address} serves the model {detector.model.name}, not {wanted}; "
                "leave out --model, or start a server with: faceblur serve --model " + wanted
            )
        detector.check_size(rounded_size(size, stride=detector.model.stride))
        runs_on = f", {detector.runs_on}" if detector.runs_on else ""
        session = _served(detector, kind="server", place=f"server {address}{runs_on}")
        undo.pop_all()
    return session


def _served(
    detector: TritonDetector, *, kind: Kind, place: str, server: TritonServer | None = None
) -> DetectionSession:
    """A session with a server, guarded; an embedded one is started again when it fails."""
    tools = {"tritonserver": detector.server_version()}
    if server is not None:
        tools |= _versions("nvidia-pytriton", *server.options.choice.packages)
    return DetectionSession(
        detector=GuardedDetector(
            CrowdDetector(detector),
            deadline_s=detector.connection.deadline_s,
            copies=1 if server is None else server.options.canary_copies,
            revive=None if server is None else server.restart,
            routes=detector,
        ),
        kind=kind,
        place=place,
        server=server,
        tools=tools,
    )


def _local(options: SessionOptions, size: int, media: Media) -> DetectionSession | None:
    if not accepts_connections(DEFAULT_SERVER):
        return None
    if (uid := stranger_at(int(DEFAULT_SERVER.rpartition(":")[2]))) is not None:
        logger.warning(
            "not using %s: another user of this machine (number %d) listens there; name it with "
            "--server if you trust him with your images",
            DEFAULT_SERVER,
            uid,
        )
        return None
    try:
        return _remote(options, DEFAULT_SERVER, size, media)
    except (ServerUnavailableError, ModelError) as error:
        logger.info("not using %s: %s", DEFAULT_SERVER, error)
    except ServerError as error:
        logger.warning("not using what listens at %s: %s", DEFAULT_SERVER, error)
    return None


def _embedded(options: SessionOptions, server_options: ServerOptions) -> DetectionSession:
    with contextlib.ExitStack() as undo:
        server = undo.enter_context(TritonServer(server_options))
        detector = TritonDetector(
            Connection(
                address=server.address,
                deadline_s=options.deadline_s,
                transport=options.transport,
                token=server.token,
            )
        )
        undo.callback(detector.close)
        place = f"embedded Triton server {server.address}"
        session = _served(detector, kind="embedded", place=place, server=server)
        undo.pop_all()
    return session


def _versions(*distributions: str) -> dict[str, str]:
    found = {}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
