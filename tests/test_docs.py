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
