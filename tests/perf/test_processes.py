"""The benchmarks know what each process does, and what it costs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from running import PATTERN, Sightless, shown, until

from benchmarks import processes
from benchmarks.processes import cpu_s, role, tree
from faceblur.detection.session import DetectionSession
from faceblur.live import Camera, CameraOptions, parse_sink, parse_source


def test_the_cost_of_a_camera_is_that_of_its_source_and_sink_too(
    tmp_path: Path, session: DetectionSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CameraOptions(
        name="triton", source=parse_source(PATTERN), sinks=(parse_sink(f"segments:{tmp_path}"),)
    )
    camera = Camera(options, Sightless())
    camera.start()
    try:
        until(camera, shown(3))
        used = cpu_s()
        roles = [role(pid) for pid in tree()]
        # A worker that was renamed is not taken for something else.
        monkeypatch.setattr(processes, "_WORKERS", {"faceblur.live.sources.old": "source"})
        with pytest.raises(LookupError, match=re.escape("faceblur.live.s")):
            cpu_s()
    finally:
        camera.stop()
    assert min(used["source"], used["sink"], used["camera"]) > 0
    assert (roles.count("source"), roles.count("sink")) == (1, 1)
    assert session.server is not None
    assert role(session.server.pid or 0) == "server"
    assert used["server"] > 0
