"""The benchmark of following tells a box that follows from one that stays."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from benchmarks.coverage.clips import ClipMaker
from benchmarks.coverage.command import faces_of
from benchmarks.coverage.scenarios import SCENARIOS
from benchmarks.coverage.videos import write_clip
from benchmarks.following import Tallies, Tally, _tally


def test_a_box_that_stays_is_told_from_one_that_follows(tmp_path: Path) -> None:
    scenario = next(each for each in SCENARIOS if each.name == "small face")
    maker = ClipMaker(Path(__file__).parents[2] / "docs" / "images" / "before.jpg")
    drawn = list(maker.frames(scenario, count=24, seed=0))
    path = tmp_path / "clip.mp4"
    write_clip(path, (image for image, _ in drawn))
    tallies: Tallies = defaultdict(Tally)
    costs = list(_tally(tallies, "made", "x", path, list(faces_of([t for _, t in drawn]))))
    follow, stay = (tallies["made", way, "all"].shown() for way in ("follow", "stay"))
    assert follow["frames"] == stay["frames"] == 23
    assert follow["covered"] == 1
    assert follow["iou"] > 0.6
    assert stay["covered"] < 0.7
    assert all(0 < read < whole for read, whole in costs)
