"""Choosing who stays visible in a video, in a real browser."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page
from web_page import Served, asked, files_in, pictured, run, same, saved

from faceblur.batch.private_folder import PREFIX
from faceblur.detection.session import DetectionSession

Start = Callable[..., Served]


def test_one_of_two_stays_visible_and_it_is_undone(
    start: Start, page: Page, session: DetectionSession, two: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", two)
    page.wait_for_selector("li[data-verdict=clean]")
    assert "2 faces covered" in page.inner_text("li .status")
    covered = saved(page, tmp_path / "covered.mp4")
    # Until somebody asks, there is no image of anybody but the upload itself.
    assert files_in(site.uploads) == ["found.json", "masked.mp4", "source.mp4"]
    page.click("text=Choose who stays visible")
    page.wait_for_selector(".face >> nth=1")
    loaded = "() => [...document.querySelectorAll('.face img')].every(i => i.naturalWidth > 60)"
    page.wait_for_function(loaded)
    # What the tick means is the same before and after it.
    assert page.locator(".face .line").all_inner_texts() == ["Keep visible"] * 2
    assert page.locator(".state").all_inner_texts() == ["Covered", "Covered"]
    page.locator(".face input").first.check()
    assert page.locator(".state").all_inner_texts() == ["Stays visible", "Covered"]
    pictured(page, "web-people", "li.card")
    track = page.locator(".face input").first.input_value()
    page.click("text=Apply")
    page.wait_for_selector("text=1 person stays visible, as you chose.")
    # What was pressed is gone, and the way with the keyboard goes on from here.
    page.wait_for_selector("li .people", state="detached")
    page.wait_for_selector("li > .actions > :focus")
    assert "no other face shows" in page.inner_text("li .verdict")
    assert page.locator("li a.save.go").count() == 1
    # It is what the command makes of the same choice, from the same list.
    kept = saved(page, tmp_path / "kept.mp4")
    listed = tmp_path / "people.json"
    assert session.server is not None
    run("people", two, "-o", listed.with_suffix(".html"), "--server", session.server.address)
    chosen = ("--boxes", listed, "--keep-visible", track)
    run("blur", two, "-o", tmp_path / "command.mp4", *chosen)
    assert same(kept, tmp_path / "command.mp4")
    assert not same(kept, covered)
    # Back, and forth again, at once: both are still there.
    page.click("text=Undo")
    page.wait_for_selector("text=2 faces covered")
    assert same(saved(page, tmp_path / "undone.mp4"), covered)
    page.click("text=Redo")
    page.wait_for_selector("text=1 face covered")
    assert files_in(site.uploads) == ["found.json", "masked-2.mp4", "masked.mp4", "source.mp4"]
    # What was chosen is still ticked; unticked, it is the first result, which need not be made.
    page.click("text=Choose who stays visible")
    page.wait_for_selector(".face >> nth=1")
    page.locator(".face input:checked").uncheck()
    page.click("text=Apply")
    page.wait_for_selector("text=2 faces covered")
    assert said == []
    page.click("li >> text=Delete")
    page.wait_for_selector("li", state="detached")
    assert files_in(site.uploads) == []


def test_a_choice_that_fails_leaves_the_result_before(start: Start, page: Page, two: Path) -> None:
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", two)
    page.wait_for_selector("li[data-verdict=clean]")
    job = page.get_attribute("li", "data-id")

    def edit(body: str) -> int:
        return asked(page, "POST", f"/api/jobs/{job}/edits", body)

    # What nobody can mean is refused, whoever asks.
    refused = ("", "[]", '{"keep": []}', '{"kept": 1}', '{"kept": ["1"]}', '{"kept": [true]}')
    assert {edit(body) for body in (*refused, '{"kept": [99]}', "9" * 1_100_000)} == {422}
    assert asked(page, "POST", f"/api/jobs/{job}/undo") == 409
    assert asked(page, "GET", f"/api/jobs/{job}/people/1") == 404
    # The list has gone, so nothing can be made of it, and nothing is lost.
    (listed,) = site.uploads.glob(f"{PREFIX}-*/*/found.json")
    os.truncate(listed, 100)
    assert edit('{"kept": [1]}') == 202
    page.wait_for_selector("text=This is the result from before.")
    assert not re.search(str(site.uploads), page.inner_text("body"))
    assert "2 faces covered" in page.inner_text("li .status")
    assert page.locator("li a.save.go").count() == 1
    assert files_in(site.uploads) == ["found.json", "masked.mp4", "source.mp4"]
