"""Every figure in the pages is the one in the results that it names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from doc_figures import faults

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "perf" / "results"
# Four are written by programs, out of the same results; a test of each compares them.
WRITTEN = {"cli.md", "faults.md", "model-card.md", "model-card-fast.md"}
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in WRITTEN),
    *sorted((ROOT / "deploy").rglob("README.md")),
]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_figure_has_its_source(page: Path) -> None:
    assert faults(page.read_text(), results=RESULTS, root=ROOT) == []


RIGHT = """It takes 12.5 ms a frame, 2.1 times as fast.

<!-- figures
12.5 = speed.json: rows/who=ours/ms
2.1 = {speed.json: rows/who=theirs/ms} / {speed.json: rows/who=ours/ms}
-->
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", None),
        ("12.5 ms", "12.6 ms", "12.6: no source"),
        ("12.5", "12.6", "it is 12.48"),
        ("2.1", "2.2", "it is 2.08"),
        ("12.5 = speed.json: rows/who=ours/ms\n", "", "12.5: no source"),
        ("who=ours/ms\n", "who=nobody/ms\n", "0 entries"),
        ("rows/who=ours/ms\n", "rows/who=ours/who\n", "no number"),
        ("12.5 = speed.json", "12.5 = slow.json", "No such file"),
        ("12.5 = speed.json: rows/who=ours/ms", "12.5 = estimate", "does not say so"),
        ("12.5 = speed.json: rows/who=ours/ms", "12.5 = command", "does not say so"),
        ("12.5 = speed.json: rows/who=ours/ms", "12.5 = pytest tests/none.py", "no such test"),
        ("12.5 = speed.json: rows/who=ours/ms", "12.5 = by heart", "invalid syntax"),
        ("2.1 times", "twice", "named, but not there"),
        ("12.5 ms a frame, 2.1 times as fast", "2.1 ms a frame, 12.5 times as fast", "not there"),
        ("It takes", "It takes 40 MB and", "40: no source"),
        ("It takes", "Of faces 3 of 4 are found. It takes", "3: no source"),
        ("It takes", "The score is 0.87. It takes", "0.87: no source"),
        ("<!-- figures", "| a | b |\n|---|---:|\n| 1 | 7 |\n\n<!-- figures", "7: no source"),
    ],
)
def test_a_wrong_figure_is_seen(tmp_path: Path, old: str, new: str, told: str | None) -> None:
    rows = [{"who": "ours", "ms": 12.48}, {"who": "theirs", "ms": 25.96}]
    (tmp_path / "speed.json").write_text(json.dumps({"rows": rows}))
    assert old in RIGHT
    found = faults(RIGHT.replace(old, new) if old else RIGHT, results=tmp_path, root=ROOT)
    assert (told in "; ".join(found)) if told else found == []


@pytest.mark.parametrize(
    "text",
    ["Since 1.19.3", "Runtime 1.19, 1.24 and 1.32", "`0.25`", "CUDA 13.4", "[x](a-0.55.md)", "5 s"],
)
def test_what_is_no_figure_needs_no_source(tmp_path: Path, text: str) -> None:
    assert faults(text, results=tmp_path, root=ROOT) == []
