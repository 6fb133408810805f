"""Try every source, every sink's target and the server of a configuration, without starting it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult

from faceblur.detection.session import SessionOptions, open_session
from faceblur.errors import FaceblurError
from faceblur.live.addresses import PORTS, parse_address, split_address
from faceblur.live.config.config import FleetConfig
from faceblur.live.options import CameraOptions
from faceblur.live.process.child import WorkerProcess
from faceblur.live.process.messages import LinkClosedError
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.stream import ROOM_BYTES
from faceblur.redaction import redact

AT_ONCE: Final = 8
"""Probes that run side by side; each source's is a process."""

DEADLINE_S: Final = 15.0
"""For one probe, a fresh interpreter included."""

_TLS: Final = ("rtsps", "rtmps", "https")


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """A source, sink or server that was tried; the server is no camera's (an empty text)."""

    camera: str
    part: str
    label: str
    good: bool
    text: str


def probe(config: FleetConfig, *, deadline_s: float = DEADLINE_S) -> Iterator[ProbeResult]:
    """Try everything, several at a time, each source or sink for so long; in the file's order."""
    server = config.session.server or "this machine"
    tasks = [("", "server", server, partial(_try_server, config.session, config.size))]
    for camera in config.cameras:
        look = partial(_try_source, camera, deadline_s)
        tasks.append((camera.name, "source", camera.source.label, look))
        tasks += [
            (camera.name, "sink", sink.label, partial(_try_target, sink, deadline_s))
            for sink in camera.sinks
        ]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="faceblur-probe") as pool:
        yield from pool.map(lambda task: _tried(*task), tasks)


def _tried(camera: str, part: str, label: str, look: Callable[[], str]) -> ProbeResult:
    try:
        good, text = True, look()
    except (OSError, FaceblurError) as error:
        reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error)
        good, text = False, redact(reason)
    return ProbeResult(camera=camera, part=part, label=label, good=good, text=text)


def _try_server(options: SessionOptions, size: int) -> str:
    with open_session(options, size=size, media="camera") as session:
        return f"a known face was found by the {session.model.name} model, {session.where}"


def _try_source(camera: CameraOptions, deadline_s: float) -> str:
    job = (camera.source, camera.hardware_decoding)
    child = WorkerProcess("faceblur.live.service.probe_worker", job, name=camera.name, slots=1)
    try:
        return _answer(child, deadline_s)
    finally:
        child.kill()


def _answer(child: WorkerProcess, deadline_s: float) -> str:
    end_s = time.monotonic() + deadline_s
    warnings = ""
    while time.monotonic() < end_s:
        try:
            for message in child.link.receive():
                text = redact(str(message.get("text", "")))
                if message.get("kind") == "found":
                    return text + warnings
                if message.get("kind") != "warning":
                    raise FaceblurError(text + warnings)
                warnings += f"; {text}"
        except LinkClosedError:
            child.wait(1.0)
            raise FaceblurError(child.how_it_ended()) from None
        time.sleep(0.05)
    raise FaceblurError(f"no frame came within {deadline_s:g} s")


def _try_target(sink: SinkOptions, deadline_s: float) -> str:
    """What is known of a target without sending it a frame."""
    if sink.kind in ("rtsp", "rtmp", "whip"):
        return _server_answers(parse_address(sink.target), deadline_s)
    if sink.kind in ("hls", "segments"):
        return _folder_is_writable(Path(sink.target))
    if sink.kind == "mjpeg":
        host, port = split_address(sink.target)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            return f"port {port} is free"
    if sink.kind == "srt":
        if shutil.which("ffmpeg") is None:
            raise OSError("it needs the ffmpeg program, which is not installed")
        return "ffmpeg is installed; SRT itself cannot be tried without sending"
    if sink.kind == "v4l2":
        if not os.access(sink.target, os.W_OK):
            raise OSError("there is no such device that can be written to")
        return "the device is there"
    if sink.kind == "window" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        raise OSError("there is no screen here")
    return "nothing to try"


def _server_answers(url: SplitResult, deadline_s: float) -> str:
    assert url.hostname is not None
    address = url.hostname, url.port or PORTS[url.scheme]
    with contextlib.ExitStack() as stack:
        connection: Any = stack.enter_context(socket.create_connection(address, timeout=deadline_s))
        if url.scheme in _TLS:
            # FFmpeg does not check certificates either, unless told to.
            context = ssl._create_unverified_context()
            connection = stack.enter_context(
                context.wrap_socket(connection, server_hostname=url.hostname)
            )
        if not url.scheme.startswith("rtsp"):
            return "the server takes connections"
        target = f"{url.scheme}://{url.hostname}:{address[1]}{url.path}"
        request = f"OPTIONS {target} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: faceblur\r\n\r\n"
        connection.sendall(request.encode())
        answer = connection.recv(4096).decode("latin-1")
    status = answer.partition("\r\n")[0]
    if not status.startswith("RTSP/"):
        raise OSError("what answers is no RTSP server")
    code = status.split(" ")[1]
    if code in ("200", "401"):
        return "the RTSP server answers" + ("" if code == "200" else ", and asks for a password")
    return f"the RTSP server answers: {status.split(' ', 1)[1]}"


def _folder_is_writable(folder: Path) -> str:
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise OSError(f"{there} cannot be written to")
    free = shutil.disk_usage(there).free
    if free < ROOM_BYTES:
        raise OSError(f"{there} has no room left")
    return (
        f"{'the folder' if there == folder else there} can be written to, {free / 1e9:.1f} GB free"
    )
