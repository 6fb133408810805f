"""The short form of `perf/run web`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.web import COVERED, PAINT, Row
from faceblur.detection.session import DetectionSession

ROOT = Path(__file__).resolve().parents[2]


def test_what_somebody_waits_for_is_measured(session: DetectionSession, tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    assert session.server is not None
    line = [sys.executable, "perf/run", "web", "--rounds", "1", "--warm-up", "0", "--width", "640"]
    line += ["--server", session.server.address, "--output", str(tmp_path)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    document = json.loads((tmp_path / "web.json").read_text())
    rows = [Row(**row) for row in document["rows"]]
    assert [row.what for row in rows][:2] == [PAINT, COVERED]
    assert all(0 < row.lowest_s <= row.median_s <= row.highest_s for row in rows)
    paint, covered, _, look = rows
    assert (paint.limit_s, covered.limit_s, look.limit_s) == (1.0, 2.0, None)
    assert document["card"]["photo"].startswith("640 × 480 pixels")
    assert PAINT in (tmp_path / "web.md").read_text()
    # Whoever is late says so.
    late = [row.what for row in rows if row.is_late]
    assert done.returncode == (1 if late else 0), done.stderr
    assert Row.of(COVERED, [1.0, 2.5, 2.1]).is_late
    assert not Row.of(COVERED, [1.9, 2.5, 0.1]).is_late
