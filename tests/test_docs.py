"""The documentation says what the program does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import faults
from faceblur.cli import main
from faceblur.cli.reference import reference
from rig.faults import FAULTS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def test_the_command_line_reference_is_current() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), (
        "run: python -m faceblur.cli.reference > docs/cli.md"
    )


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if not link.startswith(("http:", "https:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_exit_codes_are_documented() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    assert [code for code in "023456" if f"  {code}  " not in text] == []


def test_the_fault_matrix_is_whole_and_no_face_was_seen() -> None:
    document = json.loads((ROOT / "perf" / "results" / "faults.json").read_text())
    text = (ROOT / "docs" / "faults.md").read_text()
    assert text == faults.page(document), "run: perf/run faults"
    assert [fault.name for fault in FAULTS if f"| {fault.name} |" not in text] == []
    assert faults.leaks(document) == 0
    assert document["control"]["faces"] > 0


def _anchors(page: Path) -> set[str]:
    """What a link may name behind #, as hosts of repositories make it of headings."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = [re.sub(r"[`*]", "", line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _lost(page: Path) -> list[str]:
    links = re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text())
    return [f"{p}#{a}" for p, a in links if a not in _anchors(page.parent / p if p else page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_are_there(page: Path) -> None:
    assert _lost(page) == []


def test_a_lost_anchor_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n\n[x](#a-b-c) [y](#a-b) [z](page.md#a-b-c)\n")
    assert _lost(page) == ["#a-b"]
