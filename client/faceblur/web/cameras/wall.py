"""The cameras of a running `faceblur run`: how they are, what they show, and orders to them."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Final

from faceblur.errors import FaceblurError, InputError, ServerUnavailableError
from faceblur.live.config.config import DEFAULT_LISTEN
from faceblur.live.config.yaml_tree import Problems, read_tree
from faceblur.live.service.control import (
    Order,
    can_order,
    give_order,
    service_status,
    service_views,
)
from faceblur.live.views import View
from faceblur.masks.policy import Policy
from faceblur.web.cameras.outputs import Told, running_views, views
from faceblur.web.cameras.trials import Trials
from faceblur.web.cameras.watching import Shown, Watcher

_WAIT_S: Final = 2.0
"""For a frame that is asked for."""

_PAUSE_S: Final = 5.0
"""Before an output that could not be read is tried again."""

NO_OUTPUT: Final = "none of its outputs runs that can be shown here"


class Wall:
    """What one file of cameras says, and the service that runs it; safe to use from threads.

    Args:
        file: It need not be there yet, and a service need not run.
        policy: What is masked in cameras that are tried.

    Attributes:
        trials: Those that are.
    """

    def __init__(self, file: Path, policy: Policy) -> None:
        self.file = file
        self.trials = Trials(file, policy)
        self._watchers: dict[str, Watcher] = {}
        self._failed: dict[tuple[str, View], tuple[float, str]] = {}
        """By camera and output, until when it is left alone, and why."""
        self._lock = threading.Lock()

    @property
    def address(self) -> str | None:
        """Where the service listens by the file; None if it does nowhere."""
        try:
            text = self.file.read_text(encoding="utf-8")
            tree = read_tree(text, Problems(self.file.name)).plain()
        except (OSError, ValueError):
            return DEFAULT_LISTEN
        listen = tree.get("listen", DEFAULT_LISTEN) if isinstance(tree, dict) else DEFAULT_LISTEN
        return listen if isinstance(listen, str) and listen else None

    def state(self) -> dict[str, Any]:
        """How everything is, for the page."""
        address, said, trouble = self.address, None, ""
        if address is None:
            trouble = f"{self.file.name} says listen: nowhere, so nobody can tell"
        else:
            try:
                said = service_status(address)
            except FaceblurError:
                trouble = "faceblur run does not run"
        listed = [] if said is None else said["cameras"]
        told = _told(address) if listed and address else {}
        found = {each["name"]: views(each, listed, told) for each in listed}
        self._look_away({each["name"]: running_views(each, found[each["name"]]) for each in listed})
        cameras = [_camera(each, found[each["name"]]) for each in listed]
        return {
            "file": self.file.name,
            "is_there": self.file.exists(),
            "is_running": said is not None,
            "trouble": trouble or (said or {}).get("detector_failure", ""),
            "reload_error": (said or {}).get("reload_error", ""),
            "reloads": (said or {}).get("reloads", 0),
            "can_order": said is not None and address is not None and can_order(address),
            "cameras": cameras,
        }

    def order(self, order: Order, camera: str = "") -> None:
        """Have the service do something.

        Raises:
            InputError: It has no such camera.
            ServerUnavailableError: It does not run, or takes no orders from us.
        """
        address = self.address
        if address is None:
            raise InputError(f"{self.file.name} says listen: nowhere, so nobody takes orders")
        give_order(address, order, camera)

    def shown(self, camera: str, number: int) -> Shown | None:
        """The newest masked frame of a camera after that number; None if none comes soon.

        Raises:
            InputError: There is no such camera.
            ServerUnavailableError: The service does not run, or no output that can be read.
        """
        return self._watcher(camera).after(number, timeout_s=_WAIT_S)

    def trouble(self, camera: str) -> str:
        """Why nothing of a camera is shown, as far as it is known."""
        with self._lock:
            watcher = self._watchers.get(camera)
        return "" if watcher is None else watcher.trouble

    def _look_away(self, running: dict[str, list[View]]) -> None:
        """Read nothing any more from where an output has ended: it may be somebody else's now."""
        with self._lock:
            for camera, watcher in self._watchers.items():
                if watcher.view not in running.get(camera, ()):
                    watcher.close()

    def close(self) -> None:
        """Look at nothing any more."""
        with self._lock:
            for watcher in self._watchers.values():
                watcher.close()
            self._watchers.clear()
        self.trials.close()

    def __enter__(self) -> Wall:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _watcher(self, camera: str) -> Watcher:
        with self._lock:
            watcher = self._watchers.get(camera)
            if watcher is not None and not watcher.ended:
                return watcher
            if watcher is not None and watcher.trouble:
                until_s = time.monotonic() + _PAUSE_S
                self._failed.setdefault((camera, watcher.view), (until_s, watcher.trouble))
        address = self.address or DEFAULT_LISTEN
        said = service_status(address)["cameras"]
        found = next((each for each in said if each["name"] == camera), None)
        if found is None:
            raise InputError("there is no such camera")
        # Each time anew: what a sink has let go of may be taken by somebody else.
        usable = running_views(found, views(found, said, _told(address)))
        if not usable:
            raise ServerUnavailableError(NO_OUTPUT)
        with self._lock:
            watcher = self._watchers.get(camera)
            if watcher is None or watcher.ended:
                watcher = self._watchers[camera] = Watcher(self._choose(camera, usable))
            return watcher

    def _choose(self, camera: str, usable: list[View]) -> View:
        """The quickest that has not just failed.

        Raises:
            ServerUnavailableError: All have; says why the last one did.
        """
        now_s = time.monotonic()
        self._failed = {key: each for key, each in self._failed.items() if each[0] > now_s}
        chosen = next((view for view in usable if (camera, view) not in self._failed), None)
        if chosen is None:
            raise ServerUnavailableError(self._failed[camera, usable[-1]][1])
        return chosen


def _told(address: str) -> Told:
    try:
        return service_views(address)
    except FaceblurError:
        # Somebody else's: what its status says has to do.
        return {}


def _camera(said: dict[str, Any], found: list[View]) -> dict[str, Any]:
    """What the page shows of one."""
    sinks = said["sinks"]
    away = [sink["last_error"] for sink in sinks if sink["state"] == "waiting"]
    error = said["last_error"] if said["state"] not in ("running", "stopped") else ""
    return {
        "name": said["name"],
        "state": said["state"],
        "source": said["source"],
        "width": said["width"],
        "height": said["height"],
        "fps": said["fps"],
        "delay_s": said["delay"]["p50_s"],
        "faces": said["faces"],
        "dropped": said["frames_dropped"] + sum(sink["dropped"] for sink in sinks),
        "held": said["frames_held"],
        "sinks": [sink["label"] for sink in sinks],
        # One that was not started yet does not say what outputs it has.
        "can_show": not sinks or any(view.kind is not None for view in found),
        "unseen": [
            {"sink": sink["label"], "why": view.why}
            for sink, view in zip(sinks, found, strict=True)
            if view.why
        ],
        "error": " ".join((error or next(iter(away), "")).split()),
    }
