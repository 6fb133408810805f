"""One trace a frame, from its source to its sinks; none unless it is asked for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from doubles import OneByOne
from running import Run, shown, until

from faceblur.cli import main
from faceblur.detection import trace_context
from faceblur.detection.detector import Detector
from faceblur.detections import Detections
from faceblur.errors import InputError, install_line
from faceblur.live import tracing

memory = pytest.importorskip(
    "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="needs the extra otel"
)


class Listening(OneByOne):
    """A detector that remembers which traces it was asked in."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner
        self.model = inner.model
        self.heard: set[str] = set()

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        self.heard |= set((trace_context.headers() or {}).values())
        (future,) = self._inner.submit([model_input], min_score=min_score)
        return future

    def close(self) -> None: ...


@pytest.fixture
def exported() -> Iterator[Any]:
    exporter = memory.InMemorySpanExporter()
    end = tracing.trace_frames(1.0, exporter=exporter)
    try:
        yield lambda: end() or exporter.get_finished_spans()
    finally:
        end()


def test_a_frame_is_one_trace_from_source_to_sink(
    run: Run, detector: Detector, exported: Any
) -> None:
    listening = Listening(detector)
    camera = run(detector=listening)
    until(camera, shown(3))
    camera.stop()
    spans = exported()
    traces: dict[int, list[Any]] = {}
    for span in spans:
        traces.setdefault(span.context.trace_id, []).append(span)
    whole = [each for each in traces.values() if len(each) == 5]
    assert len(whole) >= 3
    for trace in whole:
        named = {span.name: span for span in trace}
        assert named.keys() == {"frame", "source", "detect", "mask", "sink"}
        frame = named["frame"]
        assert frame.parent is None
        assert frame.attributes == {"camera": "door"}
        order = [named[name] for name in ("source", "detect", "mask", "sink")]
        assert all(span.parent.span_id == frame.context.span_id for span in order)
        starts = [span.start_time for span in order]
        assert starts == sorted(starts)
        assert frame.start_time <= starts[0]
        assert all(span.end_time >= span.start_time for span in trace)
        context = frame.context
        assert f"00-{context.trace_id:032x}-{context.span_id:016x}-01" in listening.heard


def test_nothing_is_traced_unless_it_is_asked_for(run: Run, detector: Detector) -> None:
    assert tracing.begin("door", 0.0) is None
    listening = Listening(detector)
    until(run(detector=listening), shown(2))
    assert listening.heard == set()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    # The command's own logs end with it.
    for logger in (logging.getLogger(), logging.getLogger("faceblur")):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "level", logger.level)
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: {a: {source: testpattern, sinks: ['null']}}")
    result = CliRunner().invoke(main, ["run", str(file), "--trace", "0.1"])
    assert result.exit_code == InputError.exit_code
    assert install_line("otel") in result.output
    assert result.output.count("\n") == 1
