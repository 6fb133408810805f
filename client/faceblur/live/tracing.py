"""One frame in many traced from its source to its sinks, with OpenTelemetry.

Off until `trace_frames` is called, as OpenTelemetry's own tracer does nothing until then. A trace
has times and the names of cameras and sinks, never anything of an image.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from faceblur.errors import InputError, install_line

Stage = str

NAME: Final = "faceblur.live"


class FrameTrace(Protocol):
    """What became of one frame; from any thread."""

    traceparent: str
    """Of its span, for the requests about it."""

    def stage(self, name: Stage, start_s: float, *, error: str = "", **facts: str) -> None:
        """Note a stage that began then, `time.monotonic()`, and ends now."""

    def masked(self, faces: int) -> None:
        """Note that it is masked, and handed to its sinks, after what was noted last."""


Begin = Callable[[str, float], "FrameTrace | None"]
_begin: Begin | None = None


def begin(camera: str, arrived_s: float) -> FrameTrace | None:
    """A trace for a frame of a camera that came at that moment; None for most of them."""
    return None if _begin is None else _begin(camera, arrived_s)


def trace_frames(share: float, *, exporter: Any = None) -> Callable[[], None]:
    """Trace this share of all frames, 0-1, and send the traces to `exporter`.

    By default that is what the environment names (`OTEL_EXPORTER_OTLP_ENDPOINT`), by OTLP over
    HTTP.

    Returns:
        What ends it, and sends what is left.

    Raises:
        InputError: OpenTelemetry is not installed.
    """
    global _begin
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise InputError(
            f"--trace needs {error.name}; first run: {install_line('otel')}"
        ) from error
    provider = TracerProvider(resource=Resource.create({"service.name": "faceblur"}))
    provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
    tracer = provider.get_tracer(NAME)

    def sampled(camera: str, arrived_s: float) -> FrameTrace | None:
        return _Frame(tracer, camera, arrived_s) if random.random() < share else None

    _begin = sampled

    def end() -> None:
        global _begin
        _begin = None
        provider.shutdown()

    return end


class _Frame:
    """A frame's span, of the tracer of OpenTelemetry's SDK."""

    def __init__(self, tracer: Any, camera: str, arrived_s: float) -> None:
        from opentelemetry import trace

        self._tracer = tracer
        # One for the whole trace, for two readings of two clocks would put its stages in disorder.
        self._epoch_ns = time.time_ns() - round(time.monotonic() * 1e9)
        self._span = tracer.start_span(
            "frame", start_time=self._clock_ns(arrived_s), attributes={"camera": camera}
        )
        self._context = trace.set_span_in_context(self._span)
        about = self._span.get_span_context()
        self.traceparent = f"00-{about.trace_id:032x}-{about.span_id:016x}-01"
        self._noted_s = arrived_s
        self._is_over = False
        self.stage("source", arrived_s)

    def stage(self, name: Stage, start_s: float, *, error: str = "", **facts: str) -> None:
        """Note a stage."""
        attributes = dict(facts)
        if error:
            attributes["error"] = error
        span = self._tracer.start_span(
            name, context=self._context, start_time=self._clock_ns(start_s), attributes=attributes
        )
        self._noted_s = time.monotonic()
        span.end(self._clock_ns(self._noted_s))

    def masked(self, faces: int) -> None:
        """Note the mask and end the frame's own span; the sinks' follow."""
        if self._is_over:
            return
        self._is_over = True
        self.stage("mask", self._noted_s, faces=str(faces))
        self._span.end(self._clock_ns(self._noted_s))

    def _clock_ns(self, at_s: float) -> int:
        """A moment of `time.monotonic()` as nanoseconds of the time of day."""
        return self._epoch_ns + round(at_s * 1e9)
