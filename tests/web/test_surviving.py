"""What the page says and does when it is loaded again, opened twice, or its server ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from media import moving_face_video
from playwright.sync_api import Page
from web_page import Served, files_in

from rig.ports import free_port

Start = Callable[..., Served]
PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"
DONE = "li[data-verdict=clean]"


def test_work_goes_on_while_the_page_is_loaded_again_and_in_a_second_tab(
    start: Start, page: Page, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    moving_face_video(clip, frames=20, width=640, height=360)
    site = start()
    page.goto(site.address)
    with site.held("masking"):
        page.set_input_files("#files", clip)
        page.wait_for_selector("li[data-state=masking]")
        page.reload()
        second = page.context.new_page()
        second.goto(site.base)
        for tab in (page, second):
            tab.wait_for_selector("li[data-state=masking]")
    for tab in (page, second):
        tab.wait_for_selector(DONE)
        assert tab.inner_text("li h3") == "clip.mp4"
    with second.expect_download() as download:
        second.click("li a.save.go")
    assert download.value.suggested_filename == "clip_blurred.mp4"
    # What one tab deletes is gone from the other, which says so to whoever was choosing there.
    third = page.context.new_page()
    third.goto(site.base)
    third.click("text=Choose who stays visible")
    third.wait_for_selector(".face input:focus")
    page.click("li >> text=Delete")
    second.wait_for_selector("li", state="detached")
    third.wait_for_selector("text=No longer here: it was deleted in another tab, or had been kept")
    assert third.locator("li .people, li a:visible, li video").count() == 0
    assert third.inner_text("#said").startswith("clip.mp4: No longer here: ")
    assert third.inner_text(":focus") == "Delete"
    third.keyboard.press("Enter")
    third.wait_for_selector("li", state="detached")
    assert files_in(site.uploads) == []


def test_a_server_that_ends_says_so_and_the_next_one_takes_over(start: Start, page: Page) -> None:
    port = str(free_port())
    site = start("--port", port)
    page.goto(site.address)
    page.set_input_files("#files", PHOTO)
    page.wait_for_selector(DONE)
    page.click("text=Correct masks")
    page.click("text=Remove mask 1")
    site.process.terminate()
    page.wait_for_selector("text=faceblur has ended, and has deleted what was here")
    page.wait_for_selector("li[data-state=gone]")
    assert "No longer here. If you have not saved the result" in page.inner_text("li")
    assert page.locator("li a:visible").count() == 0
    # What was corrected is in the page alone, and can still be had.
    assert "Your corrections are not lost yet" in page.inner_text("li")
    with page.expect_download() as download:
        page.click("text=Save corrections")
    assert json.loads(Path(download.value.path()).read_text())["corrections"][0]["remove"]
    assert not page.is_visible("#drop")
    site.process.wait(timeout=60)
    assert files_in(site.uploads) == []
    # One more of the same name is not the one that this page came from.
    again = start("--port", port)
    page.wait_for_selector("text=faceblur was started again")
    assert page.locator("li[data-state=gone]").count() == 1
    second = page.context.new_page()
    answer = second.goto(again.base)
    assert answer is not None
    assert answer.status == 403
    assert "open the address that it has printed now" in second.inner_text("body")
    # When that was opened, all tabs of this browser are its own.
    second.goto(again.address)
    page.wait_for_selector(".notice[data-health=lost]", state="hidden")
    assert page.is_visible("#drop")
    page.set_input_files("#files", PHOTO)
    for tab in (page, second):
        tab.wait_for_selector(DONE)
    # A kill says nothing, so the page does not know more than that.
    os.kill(again.process.pid, signal.SIGKILL)
    again.process.wait()
    page.wait_for_selector("text=faceblur does not answer")
    page.wait_for_selector("li a.save", state="hidden")
    assert page.locator("li[data-state=done]").count() == 1
