"""A camera that is tried before it is added: it runs as it would later, and shows masked frames.

What is seen of it is what `faceblur run` would give out, and nothing else of it is kept.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from faceblur.detection.session import DetectionSession
from faceblur.detection.triton.ports import free_port
from faceblur.errors import InputError
from faceblur.live.addresses import parse_address
from faceblur.live.camera import Camera
from faceblur.live.config.additions import (
    NewCamera,
    add_camera,
    has_default_sinks,
    split_credentials,
)
from faceblur.live.options import CameraOptions
from faceblur.live.sinks.options import LOOPBACK, SinkOptions
from faceblur.live.sources.options import SourceOptions, parse_source
from faceblur.live.views import View, view_of
from faceblur.masks.policy import Policy
from faceblur.web.cameras.watching import Shown, Watcher
from faceblur.web.cameras.webcam import DEADLINE_S

_KINDS: Final = ("rtsp", "rtmp", "hls", "mjpeg", "snapshot")
_HINT: Final = "write the camera's address like rtsp://192.168.1.20/stream1"
_SILENCE_S: Final = 20.0
_MOST: Final = 2
_MOST_CHARACTERS: Final = 2000
_WAIT_S: Final = 2.0


@dataclass(eq=False)
class Trial:
    """One camera that is tried.

    Attributes:
        wanted: What would be added; it has no name yet.
        camera: Runs, and gives out masked frames at this machine.
        output: Where it does.
        watcher: Reads these, once there are some.
    """

    owner: str
    wanted: NewCamera
    camera: Camera
    output: View
    watcher: Watcher | None = None

    def to_json(self) -> dict[str, Any]:
        """How it goes."""
        stats = self.camera.stats()
        return {
            "state": stats.state,
            "is_good": self.is_good,
            "width": stats.width,
            "height": stats.height,
            "fps": stats.fps,
            "error": "" if self.is_good else stats.last_error,
        }

    @property
    def is_good(self) -> bool:
        """Whether frames come from it and are checked."""
        stats = self.camera.stats()
        return stats.state == "running" and stats.frames_checked > 0

    def shown(self, number: int) -> Shown | None:
        """Its newest masked frame after that number; None if none comes soon."""
        # Before, somebody else might give out something there.
        if not self.is_good or self.camera.stats().sinks[0].state != "running":
            return None
        if self.watcher is None or self.watcher.ended:
            self.watcher = Watcher(self.output)
        return self.watcher.after(number, timeout_s=_WAIT_S)

    def close(self) -> None:
        """End it."""
        if self.watcher is not None:
            self.watcher.close()
        self.camera.stop(timeout_s=1.0)


class Trials:
    """The cameras that are tried at this moment; safe to use from threads.

    Args:
        file: What they are added to.
        policy: What is masked in them.
    """

    def __init__(self, file: Path, policy: Policy) -> None:
        self._file = file
        # A camera has no start to count time from.
        zones = tuple(zone for zone in policy.zones if zone.time is None)
        self._policy = replace(policy, spans=(), zones=zones)
        self._open: dict[str, Trial] = {}
        self._asked_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def begin(
        self, owner: str, session: DetectionSession, address: str, user: str, password: str
    ) -> str:
        """Try an address; its id.

        Raises:
            InputError: It is none of a camera, or others are being tried.
        """
        wanted = _wanted(address, user, password)
        self.sweep()
        port = free_port(LOOPBACK)
        options = CameraOptions(
            name="new camera",
            source=_source(wanted),
            sinks=(SinkOptions(kind="mjpeg", target=f"{LOOPBACK}:{port}"),),
            policy=self._policy,
            deadline_s=DEADLINE_S,
        )
        with self._lock:
            if len(self._open) >= _MOST:
                raise InputError("other cameras are being tried: wait a moment")
            camera = Camera(options, session.detector)
            camera.start()
            output = view_of(options.sinks[0])
            name = secrets.token_urlsafe(16)
            self._open[name] = Trial(owner, wanted, camera, output)
            self._asked_s[name] = time.monotonic()
            return name

    def find(self, owner: str, name: str) -> Trial | None:
        """The one of that id, if it is this visitor's and goes on."""
        with self._lock:
            found = self._open.get(name)
            if found is None or found.owner != owner:
                return None
            self._asked_s[name] = time.monotonic()
            return found

    def save(self, owner: str, name: str, called: str) -> None:
        """Add what was tried to the file, and end the trial.

        Raises:
            InputError: Nothing came of it, or it cannot be added under that name.
            OutputError: The file cannot be written.
        """
        trial = self.find(owner, name)
        if trial is None:
            raise InputError("it is tried no more: try it again")
        if not trial.is_good:
            raise InputError("no checked image has come from it yet: wait until one shows")
        sinks = () if has_default_sinks(self._file) else (f"mjpeg:{free_port(LOOPBACK)}",)
        # Its own name, for one that its user calls so.
        add_camera(self._file, replace(trial.wanted, name=called, sinks=sinks))
        self.end(owner, name)

    def end(self, owner: str, name: str) -> None:
        """End one."""
        with self._lock:
            found = self._open.get(name)
            if found is None or found.owner != owner:
                return
            del self._open[name], self._asked_s[name]
        found.close()

    def sweep(self) -> None:
        """End those that nobody looks at any more."""
        now_s = time.monotonic()
        with self._lock:
            gone = [
                (each.owner, name)
                for name, each in self._open.items()
                if now_s - self._asked_s[name] > _SILENCE_S
            ]
        for owner, name in gone:
            self.end(owner, name)

    def close(self) -> None:
        """End all."""
        with self._lock:
            left, self._open = list(self._open.values()), {}
        for trial in left:
            trial.close()


def _wanted(address: str, user: str, password: str) -> NewCamera:
    texts = address, user, password
    if any(len(text) > _MOST_CHARACTERS or not text.isprintable() for text in texts):
        raise InputError(_HINT)
    address = address.strip()
    prefix, _, rest = address.partition(":")
    kind = f"{prefix}:" if prefix in ("snapshot", "mjpeg") and "://" in rest else ""
    if "://" not in address:
        raise InputError(_HINT)
    parse_address(address.removeprefix(kind))
    bare, named, secret = split_credentials(address.removeprefix(kind))
    return NewCamera(
        name="new camera", address=kind + bare, user=user or named, password=password or secret
    )


def _source(wanted: NewCamera) -> SourceOptions:
    """What is opened.

    Raises:
        InputError: It is no camera of a network.
    """
    scheme, _, rest = wanted.address.partition("://")
    user, password = quote(wanted.user, safe=""), quote(wanted.password, safe="")
    secret = f"{user}:{password}@" if password else f"{user}@" if user else ""
    source = parse_source(f"{scheme}://{secret}{rest}")
    if source.kind not in _KINDS:
        raise InputError(_HINT)
    return source
