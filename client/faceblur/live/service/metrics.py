"""A service's state as Prometheus metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from faceblur.live.service.status import ServiceStatus
from faceblur.live.stats import (
    DELAY_BUCKETS_S,
    CameraState,
    CameraStats,
    DelayStats,
    SinkState,
    SinkStats,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

Kind = Literal["counter", "gauge", "states", "histogram"]
Subject = Literal["service", "camera", "sink"]


@dataclass(frozen=True)
class MetricRow:
    """One metric of each subject; "states" is a gauge for each state, of which one is 1.

    Subjects of which the value is None have none.
    """

    name: str
    kind: Kind
    subject: Subject
    text: str
    value: Callable[[ServiceStatus, Any], Any]


def _of(field: str) -> Callable[[ServiceStatus, Any], Any]:
    return lambda _, stats: getattr(stats, field)


METRICS: Final = (
    MetricRow("faceblur_uptime_seconds", "gauge", "service", "since the service started",
              _of("uptime_s")),
    MetricRow("faceblur_detector_up", "gauge", "service",
              "1 while the detector's check image comes back with its face",
              lambda status, _: not status.detector_failure),
    MetricRow("faceblur_config_reloads_total", "counter", "service",
              "changed files that were loaded", _of("reloads")),
    MetricRow("faceblur_config_reload_failures_total", "counter", "service",
              "changed files that were not loaded, as they had errors", _of("reloads_failed")),
    MetricRow("faceblur_leases_up", "gauge", "service",
              "with `--shard-by lease`: 1 while leases of cameras are renewed",
              lambda status, _: None if status.leases_failure is None
              else not status.leases_failure),
    MetricRow("faceblur_camera_state", "states", "camera",
              "1 for the state that the camera is in", _of("state")),
    MetricRow("faceblur_camera_frames_in_total", "counter", "camera",
              "frames that the source delivered, after the fps cap", _of("frames_in")),
    MetricRow("faceblur_camera_frames_checked_total", "counter", "camera",
              "frames that were checked, masked where faces are, and handed on",
              _of("frames_checked")),
    MetricRow("faceblur_camera_frames_masked_total", "counter", "camera",
              "of these, frames with at least one face masked", _of("frames_masked")),
    MetricRow("faceblur_camera_frames_dropped_total", "counter", "camera",
              "frames left out since newer ones had come", _of("frames_dropped")),
    MetricRow("faceblur_camera_frames_held_total", "counter", "camera",
              "frames that could not be checked and were not shown", _of("frames_held")),
    MetricRow("faceblur_camera_frames_placeholder_total", "counter", "camera",
              "placeholders that went out instead, with nothing of the source",
              _of("frames_placeholder")),
    MetricRow("faceblur_camera_frames_out_total", "counter", "camera",
              "all frames handed to the sinks", _of("frames_out")),
    MetricRow("faceblur_camera_faces_total", "counter", "camera",
              "masks drawn, over all frames", _of("faces")),
    MetricRow("faceblur_camera_reconnects_total", "counter", "camera",
              "times the source was reopened", _of("reconnects")),
    MetricRow("faceblur_camera_restarts_total", "counter", "camera",
              "times the camera was restarted after an error of its own",
              lambda status, camera: status.restarts.get(camera.name, 0)),
    MetricRow("faceblur_camera_fps", "gauge", "camera",
              "frames per second that come in", _of("fps")),
    MetricRow("faceblur_camera_view_learnt", "gauge", "camera",
              "with `moving: mask`: 1 while the view is known, 0 while all of it is masked",
              lambda _, camera: camera.view == "learnt" if camera.view else None),
    MetricRow("faceblur_camera_delay_seconds", "histogram", "camera",
              "from a frame's arrival to its hand-over, masked, to the sinks", _of("delay")),
    MetricRow("faceblur_sink_state", "states", "sink",
              "1 for the state that the sink is in", _of("state")),
    MetricRow("faceblur_sink_frames_total", "counter", "sink",
              "frames written", _of("frames")),
    MetricRow("faceblur_sink_frames_dropped_total", "counter", "sink",
              "frames that it did not take in time", _of("dropped")),
    MetricRow("faceblur_sink_restarts_total", "counter", "sink",
              "times it was restarted", _of("restarts")),
    MetricRow("faceblur_sink_delay_seconds", "histogram", "sink",
              "from a frame's arrival at the source to the end of its writing", _of("delay")),
)  # fmt: skip
"""Every metric but those of the process itself."""

_LABELS: Final[dict[Subject, list[str]]] = {
    "service": [],
    "camera": ["camera"],
    "sink": ["camera", "sink", "target"],
}
_STATES: Final[dict[Subject, tuple[str, ...]]] = {
    "camera": get_args(CameraState),
    "sink": get_args(SinkState),
}


class _Collected(Collector):
    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without collecting them."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All of them, at this moment."""
        return self._collect()


def _subjects(
    subject: Subject, status: ServiceStatus
) -> Iterator[tuple[list[str], ServiceStatus | CameraStats | SinkStats]]:
    if subject == "service":
        yield [], status
        return
    for camera in status.cameras:
        if subject == "camera":
            yield [camera.name], camera
            continue
        for number, sink in enumerate(camera.sinks):
            yield [camera.name, str(number), sink.label], sink


def _family(row: MetricRow, status: ServiceStatus) -> Metric:
    labels = _LABELS[row.subject]
    subjects = list(_subjects(row.subject, status))
    family: Any
    if row.kind == "states":
        family = GaugeMetricFamily(row.name, row.text, labels=[*labels, "state"])
        for values, stats in subjects:
            for state in _STATES[row.subject]:
                family.add_metric([*values, state], float(row.value(status, stats) == state))
        return cast(Metric, family)
    kinds = {
        "counter": CounterMetricFamily,
        "gauge": GaugeMetricFamily,
        "histogram": HistogramMetricFamily,
    }
    family = kinds[row.kind](row.name, row.text, labels=labels)
    for values, stats in subjects:
        value = row.value(status, stats)
        if isinstance(value, DelayStats):
            family.add_metric(values, buckets=_buckets(value), sum_value=value.sum_s)
        elif value is not None:
            family.add_metric(values, float(value))
    return cast(Metric, family)


def _buckets(delay: DelayStats) -> list[tuple[str, float]]:
    bounds = [*DELAY_BUCKETS_S, math.inf]
    counts = [*delay.cumulative, delay.count]
    return [
        ("+Inf" if math.isinf(bound) else str(bound), float(count))
        for bound, count in zip(bounds, counts, strict=True)
    ]


def exporter(status: Callable[[], ServiceStatus]) -> Callable[[], bytes]:
    """Something that writes all metrics of a service, those of this process included."""

    def collect() -> Iterator[Metric]:
        now = status()
        yield info_of(now.version)
        for row in METRICS:
            yield _family(row, now)

    return written(collect)


def info_of(version: str) -> Metric:
    """The metric that says which version runs."""
    info = GaugeMetricFamily("faceblur_info", "version of faceblur", labels=["version"])
    info.add_metric([version], 1)
    return cast(Metric, info)


def written(collect: Callable[[], Iterator[Metric]]) -> Callable[[], bytes]:
    """Something that writes metrics as they are then, and those of this process."""
    registry = CollectorRegistry()
    registry.register(_Collected(collect))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return lambda: generate_latest(registry)
