"""How a watch goes: one value, as JSON, as metrics and as pages. Never an image, nor a secret."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from faceblur.live.service.metrics import CONTENT_TYPE, info_of, written
from faceblur.live.service.web import JSON, Page, as_json, verdict

HUNG_S: Final = 600.0
"""A look at a store of millions of files takes minutes."""


@dataclass(frozen=True, kw_only=True)
class WatchStatus:
    """A watch at one moment.

    Attributes:
        source: What is watched.
        uptime_s: Seconds since it started.
        loop_age_s: Seconds since its loop last turned.
        detector: What finds the faces, for people to read.
        detector_failure: Why files could not be checked the last time; empty if they were.
        source_failure: Why the place could not be listed the last time; empty if it was.
        masked: Files that were masked.
        finished: Files that were there already, with their results.
        failed: Attempts that failed.
        faces: Masked regions in all frames.
        frames: Checked frames.
        settling: Files that are there, but not whole yet.
        queued: Files that wait for their turn, or for another attempt.
        working: Files that are masked at the moment.
        oldest_s: Seconds for which the oldest of those that wait has waited.
        failures: Files that failed and were not masked since, and why, a few of them.
    """

    version: str
    source: str
    uptime_s: float
    loop_age_s: float
    detector: str
    detector_failure: str
    source_failure: str
    masked: int
    finished: int
    failed: int
    faces: int
    frames: int
    settling: int
    queued: int
    working: int
    oldest_s: float
    failures: dict[str, str]

    def unhealthy(self) -> list[str]:
        """Reasons to end this process and start another."""
        if self.loop_age_s <= HUNG_S:
            return []
        return [f"the watch has not moved for {self.loop_age_s:.0f} s"]

    def unready(self) -> list[str]:
        """Why files that arrive are not masked at the moment."""
        reasons = {"detector": self.detector_failure, "source": self.source_failure}
        return [f"{name}: {reason}" for name, reason in reasons.items() if reason]


def _metrics(status: WatchStatus) -> Iterator[Metric]:
    yield info_of(status.version)
    files = CounterMetricFamily(
        "faceblur_watch_files_total",
        "files that were masked, were finished before, or failed in an attempt",
        labels=["outcome"],
    )
    for outcome in ("masked", "finished", "failed"):
        files.add_metric([outcome], getattr(status, outcome))
    yield files
    for name, text, count in (
        ("faceblur_watch_faces_total", "masked regions in all frames", status.faces),
        ("faceblur_watch_frames_total", "checked frames", status.frames),
    ):
        yield CounterMetricFamily(name, text, value=count)
    for name, text, value in (
        ("faceblur_uptime_seconds", "since the watch started", status.uptime_s),
        ("faceblur_watch_files_settling", "files that are not whole yet", status.settling),
        ("faceblur_watch_files_queued", "files that wait for an attempt", status.queued),
        ("faceblur_watch_files_working", "files that are masked now", status.working),
        ("faceblur_watch_oldest_seconds", "for which the oldest waits", status.oldest_s),
        ("faceblur_watch_source_up", "1 while the place can be listed", not status.source_failure),
        (
            "faceblur_detector_up",
            "1 unless files could not be checked the last time",
            not status.detector_failure,
        ),
    ):
        yield GaugeMetricFamily(name, text, value=float(value))


def pages(status: Callable[[], WatchStatus]) -> dict[str, Page]:
    """The pages that show a watch; `status` is called from any thread."""
    metrics = written(lambda: _metrics(status()))
    return {
        "/metrics": lambda: (200, CONTENT_TYPE, metrics()),
        "/healthz": lambda: verdict("healthy", status().unhealthy()),
        "/readyz": lambda: verdict("ready", status().unready()),
        "/status": lambda: (200, JSON, as_json(dataclasses.asdict(status()))),
    }
