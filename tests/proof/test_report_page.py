"""The page of a record, where something is to be said."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np

from faceblur.detection.detector import ModelInfo
from faceblur.proof.audit.manifest import FileFacts, FrameTally, Manifest, TrackTally
from faceblur.proof.report_page import report_page
from faceblur.proof.verify.report import Region, VerifyReport

MODEL = ModelInfo("some <model>", "ab" * 32)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
MANIFEST = Manifest(
    started=NOW,
    ended=NOW,
    kind="video",
    source=FileFacts(name="a & b.mp4", sha256="1" * 64, size_bytes=10),
    output=FileFacts(name="a & b_blurred.mp4", sha256="2" * 64, size_bytes=11),
    width=64,
    height=48,
    model=MODEL,
    detector="embedded",
    settings={"policy": {"mask": {"mode": "veil", "image": None}, "min_face": 0.0, "on": True}},
    settings_sha256="3" * 64,
    frames=FrameTally(checked=4, with_faces=3, faces=5),
    tools={"faceblur": "0.1"},
    platform="Linux",
    tracks=tuple(TrackTally(id=n, masked=n, unmasked=0) for n in range(1, 203)),
)
PLACE = Region(
    frame=2,
    time_s=Fraction(1, 2),
    box=np.array([1, 2, 3, 4], np.float32),
    score=0.5,
    reason="shown",
    kept=1.0,
)
CLEAN = VerifyReport(
    output=Path("a.mp4"),
    source=None,
    audit=None,
    model=MODEL,
    threshold=0.1,
    frames=4,
    regions=5,
    leaks=(),
    doubtful=(),
    spared=(),
    unjudged=0,
    problems=(),
)


def test_each_verdict_is_told_with_its_places_and_nothing_is_markup() -> None:
    page = report_page(MANIFEST, CLEAN)
    assert "nothing in the result looks like a face" in page
    assert "Careful" not in page
    # Whoever was left visible is not passed over.
    assert "but what somebody chose" not in page
    spared = report_page(MANIFEST, replace(CLEAN, spared=[PLACE]))
    assert "is not covered, but what somebody chose to leave as it was" in spared
    assert "<bdi>a &amp; b_blurred.mp4</bdi>" in page
    assert "some &lt;model&gt;" in page
    assert "<th scope=row>policy mask mode</th><td>veil</td>" in page
    assert "<th scope=row>policy min face</th><td>0.0</td>" in page
    assert "And 2 more, in the folder audit." in page
    leaking = report_page(MANIFEST, replace(CLEAN, leaks=[PLACE] * 101, spared=[PLACE]))
    assert "Careful: something that may be a face is not covered." in leaking
    assert leaking.count("frame 2 at 0.500 s: a face is still shown as in the source") == 101
    assert "And 1 more, in verify.json." in leaking
    assert "Left as they were, as somebody chose" in leaking
    unsure = report_page(MANIFEST, replace(CLEAN, problems=["frames are <missing>"]))
    assert "It could not be checked completely." in unsure
    assert "frames are &lt;missing&gt;" in unsure
