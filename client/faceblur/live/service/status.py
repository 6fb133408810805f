"""How a running service is: one value, as JSON. Never an image, nor a secret."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from faceblur.live.stats import CameraStats


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """A service at one moment.

    Attributes:
        uptime_s: Seconds since it started.
        loop_age_s: Seconds since its own loop last turned.
        detector: What finds the faces, for people to read.
        detector_failure: Why frames are refused at the moment; empty when they are not.
        idle_s: Seconds since the loop of each camera last turned.
        restarts: How often each camera was restarted after it had failed.
        reloads: How often the file was read again and taken.
        reloads_failed: How often it was read again and not taken.
        reload_error: Why it was not taken last time; empty if it was.
        leases_failure: Why leases of cameras are not renewed; empty when they are, None where the
            cameras are not shared.
    """

    version: str
    uptime_s: float
    loop_age_s: float
    detector: str
    detector_failure: str
    cameras: tuple[CameraStats, ...]
    idle_s: Mapping[str, float]
    restarts: Mapping[str, int]
    reloads: int
    reloads_failed: int
    reload_error: str
    leases_failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Every number, in values that JSON has."""
        plain = dataclasses.asdict(self)
        for camera in plain["cameras"]:
            for part in (camera, *camera["sinks"]):
                delay = part["delay"]
                del delay["cumulative"]
                part["delay"] = {k: None if math.isnan(v) else v for k, v in delay.items()}
        return plain

    def scrubbed(self, scrub: Callable[[str], str]) -> ServiceStatus:
        """The same with every text cleaned of secrets."""

        def clean(value: Any, *names: str) -> Any:
            return replace(value, **{name: scrub(getattr(value, name)) for name in names})

        cameras = tuple(
            replace(
                clean(camera, "source", "last_error"),
                sinks=tuple(clean(sink, "label", "last_error") for sink in camera.sinks),
            )
            for camera in self.cameras
        )
        texts = ["detector", "detector_failure", "reload_error"]
        if self.leases_failure is not None:
            texts.append("leases_failure")
        return clean(replace(self, cameras=cameras), *texts)  # type: ignore[no-any-return]

    def unhealthy(self, *, limit_s: float) -> list[str]:
        """Loops that do not turn: reasons to end this process and start another."""
        loops = {"the service": self.loop_age_s}
        loops |= {f"camera {name}": idle_s for name, idle_s in self.idle_s.items()}
        hung = {name: idle_s for name, idle_s in loops.items() if idle_s > limit_s}
        return [f"{name} has not moved for {idle_s:.0f} s" for name, idle_s in hung.items()]

    def unready(self) -> list[str]:
        """Why not every camera shows checked frames."""
        reasons = []
        if self.detector_failure:
            reasons.append(f"detector: {self.detector_failure}")
        if self.leases_failure:
            reasons.append(f"leases: {self.leases_failure}")
        for camera in self.cameras:
            if camera.state != "running":
                why = f": {camera.last_error}" if camera.last_error else ""
                reasons.append(f"camera {camera.name} is {camera.state}{why}")
        return reasons
