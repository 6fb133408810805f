"""Whether everybody can use the page as it is at this moment."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WIDTH = 390
"""Of a phone, pixels."""


def faults(page: Page) -> list[str]:
    """What axe finds in both colour schemes, and what is wider than the page."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found += [
            f"{scheme}: {each['id']}: {node['html'][:200]}"
            for each in Axe().run(page).response["violations"]
            for node in each["nodes"]
        ]
    if page.evaluate("document.documentElement.scrollWidth") > WIDTH:
        found.append("wider than the phone")
    return found
