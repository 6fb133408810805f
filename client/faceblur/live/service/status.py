"""How a running service is: one value, as JSON. Never an image, nor a secret."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faceblur.live.stats import CameraStats, DelayStats, SinkStats


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """A service at one moment.

    Attributes:
        version: Of faceblur.
        uptime_s: Seconds since it started.
        loop_age_s: Seconds since its own loop last turned.
        detector: What finds the faces, for people to read.
        detector_failure: Why frames are refused at the moment; empty when they are not.
        cameras: In the file's order.
        idle_s: Seconds since the loop of each camera last turned.
        restarts: How often each camera was restarted after it had failed.
        reloads: How often the file was read again and taken.
        reloads_failed: How often it was read again and not taken.
        reload_error: Why it was not taken last time; empty if it was.
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

    def to_json(self) -> dict[str, Any]:
        """Every number, in values that JSON has."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return plain | {
            "idle_s": dict(self.idle_s),
            "restarts": dict(self.restarts),
            "cameras": [
                _plain(camera) | {"sinks": [_plain(sink) for sink in camera.sinks]}
                for camera in self.cameras
            ],
        }

    def scrubbed(self, scrub: Callable[[str], str]) -> ServiceStatus:
        """The same with every text cleaned of secrets."""
        cameras = tuple(
            dataclasses.replace(
                camera,
                source=scrub(camera.source),
                last_error=scrub(camera.last_error),
                sinks=tuple(
                    dataclasses.replace(
                        sink, label=scrub(sink.label), last_error=scrub(sink.last_error)
                    )
                    for sink in camera.sinks
                ),
            )
            for camera in self.cameras
        )
        return dataclasses.replace(
            self,
            cameras=cameras,
            detector=scrub(self.detector),
            detector_failure=scrub(self.detector_failure),
            reload_error=scrub(self.reload_error),
        )

    def unhealthy(self, *, limit_s: float) -> list[str]:
        """Loops that do not turn: reasons to end this process and start another."""
        reasons = []
        if self.loop_age_s > limit_s:
            reasons.append(f"the service has not moved for {self.loop_age_s:.0f} s")
        reasons += [
            f"camera {name} has not moved for {idle_s:.0f} s"
            for name, idle_s in self.idle_s.items()
            if idle_s > limit_s
        ]
        return reasons

    def unready(self) -> list[str]:
        """Why not every camera shows checked frames."""
        reasons = []
        if self.detector_failure:
            reasons.append(f"detector: {self.detector_failure}")
        for camera in self.cameras:
            if camera.state != "running":
                why = f": {camera.last_error}" if camera.last_error else ""
                reasons.append(f"camera {camera.name} is {camera.state}{why}")
        return reasons


def _plain(stats: CameraStats | SinkStats) -> dict[str, Any]:
    plain = {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}
    return plain | {"delay": _delay(stats.delay)}


def _delay(delay: DelayStats) -> dict[str, Any]:
    return {
        "count": delay.count,
        "sum_s": delay.sum_s,
        "p50_s": None if math.isnan(delay.p50_s) else delay.p50_s,
        "p99_s": None if math.isnan(delay.p99_s) else delay.p99_s,
    }
