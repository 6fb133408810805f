"""Many cameras at once: started, watched, changed one by one, stopped together."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from faceblur.detection.detector import Detector
from faceblur.errors import FaceblurError
from faceblur.live.camera import Camera
from faceblur.live.options import CameraOptions
from faceblur.live.process.backoff import Backoff
from faceblur.live.stats import HUNG_S, CameraStats, DelayMeter
from faceblur.masks.policy import Policy
from faceblur.redaction import redact
from faceblur.schema.conversion import to_json

logger = logging.getLogger(__name__)

STOP_MARGIN_S: Final = 2.0
"""On top of what a camera was given to stop; then it is left to end with the process."""

CHANGE_S: Final = 5.0
"""What a camera that is changed or removed gets to flush its sinks."""

_ANY: Final = Policy()
OpenCamera = Callable[[CameraOptions, Detector], Camera]


@dataclass(frozen=True)
class Changes:
    """What a new set of cameras changed, by name."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For people to read."""
        named = {"started": self.added, "changed": self.changed, "removed": self.removed}
        parts = [f"{what} {', '.join(names)}" for what, names in named.items() if names]
        return "; ".join([*parts, f"{len(self.kept)} not touched"])


@dataclass
class _Member:
    """One camera of the fleet."""

    options: CameraOptions
    mark: tuple[object, ...]
    camera: Camera | None = None
    backoff: Backoff = field(default_factory=Backoff)
    started_s: float = 0.0
    retry_s: float | None = None
    restarts: int = 0
    error: str = ""
    """Why it could not be started; empty once it was."""

    def stats(self) -> CameraStats:
        """How it is, also when it could not even be started."""
        if self.camera is None or self.error:
            return CameraStats(
                name=self.options.name,
                state="starting",
                source=self.options.source.label,
                delay=DelayMeter().stats(),
                last_error=self.error,
            )
        return _stats_of(self.camera)


class Fleet:
    """Runs cameras that share a detector, which outlives them.

    All methods but the readers belong to one thread. Cameras whose names are `held` are not
    started until they are released, also where they go and come back meanwhile, as with their
    leases.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        open_camera: OpenCamera = Camera,
        held: frozenset[str] = frozenset(),
    ) -> None:
        self._detector = detector
        self._open = open_camera
        self._lock = threading.Lock()
        self._members: dict[str, _Member] = {}
        self._held = set(held)

    def apply(self, cameras: Sequence[CameraOptions]) -> Changes:
        """Make the running cameras these; those whose settings are the same are not touched."""
        wanted = {camera.name: (camera, fingerprint(camera)) for camera in cameras}
        with self._lock:
            old = dict(self._members)
        kept = {n for n, m in old.items() if n in wanted and m.mark == wanted[n][1]}
        # First stop: what takes their place may want the same ports and devices.
        _stop((m for n, m in old.items() if n not in kept), timeout_s=CHANGE_S)
        members = {
            name: old[name] if name in kept else _Member(options, mark)
            for name, (options, mark) in wanted.items()
        }
        with self._lock:
            self._members = members
        for name, member in members.items():
            if name not in kept and name not in self._held:
                self._start(member)
        return Changes(
            added=tuple(n for n in wanted if n not in old),
            changed=tuple(n for n in wanted if n in old and n not in kept),
            removed=tuple(n for n in old if n not in wanted),
            kept=tuple(n for n in wanted if n in kept),
        )

    @property
    def held(self) -> frozenset[str]:
        """Names of the cameras that are not to run, whether they are here at present or not."""
        return frozenset(self._held)

    def forget_others(self, names: Iterable[str]) -> None:
        """Hold none but these any more: the others are no longer in the file."""
        self._held &= set(names)

    def has(self, name: str) -> bool:
        """Whether there is such a camera; from any thread."""
        with self._lock:
            return name in self._members

    def hold(self, name: str) -> None:
        """Stop a camera until it is released; it stays in the file."""
        member = self._members.get(name)
        if member is None or name in self._held:
            return
        self._held.add(name)
        member.retry_s, member.error = None, ""
        _stop([member], timeout_s=CHANGE_S)
        logger.info("camera %s was told to stop", name)

    def release(self, name: str) -> None:
        """Start a camera that was held, or has come to its own end."""
        member = self._members.get(name)
        if member is None:
            return
        over = member.camera is None or member.camera.wait(0)
        if name in self._held or over:
            self._held.discard(name)
            self._start(member)

    def look(self) -> None:
        """Start failed cameras again, after a pause that grows."""
        now_s = time.monotonic()
        for member in self._all():
            camera = member.camera
            if member.options.name in self._held:
                continue
            if member.retry_s is not None:
                if now_s >= member.retry_s:
                    member.restarts += 1
                    self._start(member)
            elif camera is not None and camera.failed:
                pause_s = member.backoff.pause_s(worked_for_s=now_s - member.started_s)
                name = member.options.name
                logger.error("camera %s is started again in %.1f s", name, pause_s)
                member.retry_s = now_s + pause_s

    def stats(self) -> list[CameraStats]:
        """Of all cameras, in the file's order; from any thread."""
        held = set(self._held)
        found = ((member.options.name, member.stats()) for member in self._all())
        return [replace(stats, state="stopped") if name in held else stats for name, stats in found]

    def restarts(self) -> dict[str, int]:
        """How often each camera was restarted by `look`; from any thread."""
        return {member.options.name: member.restarts for member in self._all()}

    def idle_s(self) -> dict[str, float]:
        """Seconds since the loop of each camera last turned; from any thread."""
        cameras = [m.camera for m in self._all() if m.camera is not None]
        return {camera.options.name: camera.idle_s for camera in cameras}

    @property
    def ended(self) -> bool:
        """Whether all cameras have come to their own end."""
        return all(
            member.options.name not in self._held
            and member.retry_s is None
            and member.camera is not None
            and not member.camera.failed
            and member.camera.wait(0)
            for member in self._all()
        )

    def stop(self, *, timeout_s: float) -> None:
        """Flush and stop all cameras, side by side."""
        _stop(self._all(), timeout_s=timeout_s)

    def _all(self) -> list[_Member]:
        with self._lock:
            return list(self._members.values())

    def _start(self, member: _Member) -> None:
        member.started_s, member.retry_s = time.monotonic(), None
        try:
            camera = self._open(member.options, self._detector)
            camera.start()
        except (FaceblurError, OSError, RuntimeError) as error:
            pause_s = member.backoff.pause_s(worked_for_s=0.0)
            member.error = redact(str(error))
            logger.error("camera %s does not start: %s", member.options.name, member.error)
            member.retry_s = time.monotonic() + pause_s
            return
        member.camera, member.error = camera, ""


def _stats_of(camera: Camera) -> CameraStats:
    """What a camera says of itself, and what it cannot say: that it hangs."""
    stats, idle_s = camera.stats(), camera.idle_s
    if idle_s <= HUNG_S:
        return stats
    error = f"its loop has not turned for {idle_s:.0f} s"
    return replace(stats, state="hung", state_since_s=idle_s, last_error=error)


def _stop(members: Iterable[_Member], *, timeout_s: float) -> None:
    """Stop cameras side by side; one that does not stop in time is left behind."""
    stopping = [
        threading.Thread(
            target=member.camera.stop,
            kwargs={"timeout_s": timeout_s},
            name=f"stop {member.options.name}",
            daemon=True,
        )
        for member in members
        if member.camera is not None
    ]
    for thread in stopping:
        thread.start()
    deadline_s = time.monotonic() + timeout_s + STOP_MARGIN_S
    for thread in stopping:
        thread.join(max(0.0, deadline_s - time.monotonic()))
        if thread.is_alive():
            logger.error("%s: it did not stop within %g s", thread.name, timeout_s)


def fingerprint(camera: CameraOptions) -> tuple[object, ...]:
    """Equal for cameras that are set the same, down to the content of overlay images."""
    return replace(camera, policy=_ANY), json.dumps(to_json(camera.policy), sort_keys=True)
