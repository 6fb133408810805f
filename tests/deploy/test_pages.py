"""The deployment pages have the same sections, and name what is there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import yaml
from resolved_compose import ROOT, command_of, resolve, tritons

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


def _overrides() -> list[tuple[str, str]]:
    """Service and text of each `compose.override.yaml` that a page shows."""
    pattern = re.compile(r"^ *```yaml\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
    texts = [textwrap.dedent(text) for page in PAGES for text in pattern.findall(page.read_text())]
    trees = [(yaml.safe_load(text), text) for text in texts]
    # The others are values of the chart: test_azure has them.
    return [(next(iter(tree["services"])), text) for tree, text in trees if "services" in tree]


@pytest.mark.parametrize(("service", "text"), _overrides())
def test_compose_takes_what_a_page_shows(service: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.override.yaml"
    path.write_text(text)
    profile = "jetson" if service.endswith("-jetson") else "gpu"
    changed = resolve(profile, on_top=path, ENTRANCE_PASSWORD="x")[service]
    usual = resolve(profile)[service]
    assert changed != usual
    # Nothing that the step is usually told gets lost.
    assert set(command_of(usual)) <= {*command_of(changed), "--backend=tensorrt"}


def test_the_services_in_the_table_are_composes() -> None:
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", PAGES[0].read_text(), re.MULTILINE)
    named = {name for row in rows[:6] for name in re.findall(r"`([\w-]+)`", row)}
    assert named == set(resolve())


@pytest.mark.parametrize(
    ("settings", "triton"), [("orin.env", "triton-jetson"), ("sbsa.env", "triton")]
)
def test_a_boards_settings_start_its_server(settings: str, triton: str) -> None:
    services = resolve(env_file=ROOT / "deploy" / "jetson" / settings)
    assert tritons(services) == [triton]
