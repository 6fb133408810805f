"""The deployment pages have the same sections, and name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from resolved_compose import ROOT, resolve, tritons

PAGES = [ROOT / "docs" / "deploy.md", *sorted((ROOT / "deploy").rglob("README.md"))]
SECTIONS = ["What it is", "Tested on", "Run", "Check", "Performance", "Troubleshooting"]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_page_has_the_same_sections(page: Path) -> None:
    assert re.findall("^## (.*)$", page.read_text(), re.MULTILINE) == SECTIONS


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_services_in_the_table_are_composes() -> None:
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", PAGES[0].read_text(), re.MULTILINE)
    named = {name for row in rows[:5] for name in re.findall(r"`([\w-]+)`", row)}
    assert named == set(resolve())


@pytest.mark.parametrize(
    ("settings", "triton"), [("orin.env", "triton-jetson"), ("sbsa.env", "triton")]
)
def test_a_boards_settings_start_its_server(settings: str, triton: str) -> None:
    services = resolve(env_file=ROOT / "deploy" / "jetson" / settings)
    assert tritons(services) == [triton]
