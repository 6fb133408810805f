"""What the page refuses, what it is careful with, and when it deletes."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from media import moving_face_video
from playwright.sync_api import Page
from waiting import until
from web_page import FILES_SHOWN, Served, asked, files_in

from faceblur.detection import models
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.video.kinds import Kind
from faceblur.web.jobs.fair_queue import FairQueue
from faceblur.web.jobs.job import WebJob
from rig.ports import free_port

Start = Callable[..., Served]
PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"

_DROP = """data => {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
  return transfer;
}"""


def test_what_is_too_much_is_refused_and_what_nobody_looks_at_goes(
    small: Start, page: Page, tmp_path: Path
) -> None:
    site = small()
    page.goto(site.address)
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(400_001))
    wide, film = tmp_path / "wide.png", tmp_path / "film.mp4"
    cv2.imwrite(str(wide), np.zeros((480, 640, 3), np.uint8))
    moving_face_video(film, frames=2, width=640, height=480)
    page.set_input_files("#files", [large, wide, film])
    page.locator(FILES_SHOWN).nth(2).wait_for()
    said = page.inner_text("#cards")
    assert "it has more than 0.4 MB" in said
    assert "wide.png has more than 0.3 million pixels: use faceblur blur" in said
    assert "film.mp4 has more than 0.3 million pixels: use faceblur blur" in said
    # The page need not be what asks.
    assert asked(page, "POST", "/api/jobs?name=a.jpg", "x" * 400_001) == 413
    assert files_in(site.uploads) == []
    # There is nothing to lose, so nothing is asked.
    page.click("#delete-all")
    page.wait_for_selector("li", state="detached")
    photos = [shutil.copy(PHOTO, tmp_path / f"{number}.jpg") for number in range(4)]
    page.set_input_files("#files", photos)
    page.locator(FILES_SHOWN).nth(3).wait_for()
    refused = page.locator("li[data-state=failed]")
    assert "there are too many files: save and delete some first" in refused.inner_text()
    assert page.locator("li[data-state=done]").count() == 3
    page.locator("li[data-state=done] >> text=Delete").first.click()
    page.locator("li[data-state=done]").nth(2).wait_for(state="detached")
    # What was added below others is scrolled to.
    page.set_viewport_size({"width": 1280, "height": 500})
    page.evaluate("scrollTo(0, 0)")
    page.set_input_files("#files", photos[0])
    page.wait_for_function("() => scrollY > 0")
    page.locator("li[data-state=done]").nth(2).wait_for()
    # A page that is loaded again is no page that was left.
    page.reload()
    page.locator("li[data-state=done]").nth(2).wait_for()
    site.sweep()
    assert files_in(site.uploads).count("masked.jpg") == 3
    page.goto("about:blank")

    def are_gone() -> bool:
        site.sweep()
        return files_in(site.uploads) == []

    until(are_gone, "the server knows that the page was closed")


def test_files_go_when_they_were_kept_long_enough(small: Start, page: Page) -> None:
    site = small(keep_s=0)
    page.goto(site.address)
    with site.held("checking"):
        page.set_input_files("#files", PHOTO)
        page.wait_for_selector("li[data-state=checking]")
        # What is not finished has all the time that it needs.
        site.sweep()
        assert "masked.jpg" in files_in(site.uploads)
    page.wait_for_selector("li[data-state=done]")
    site.sweep()
    page.wait_for_selector("li", state="detached")
    assert files_in(site.uploads) == []


def test_what_may_still_show_a_face_is_not_green(small: Start, page: Page, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    moving_face_video(clip, frames=5, width=640, height=360)
    site = small(min_face=999)
    page.goto(site.address)
    page.set_input_files("#files", [PHOTO, clip])
    page.locator("li[data-verdict=leaks]").nth(1).wait_for()
    said = page.inner_text("#cards")
    assert "Careful: a face may still show in 1 place." in said
    assert "Careful: a face may still show in 5 places, at 0.0 s, 0.0 s, 0.1 s" in said
    assert page.locator("li a.go").count() == 0
    assert not page.is_visible("#save-all")
    assert asked(page, "GET", "/api/results.zip") == 404
    # Nobody can be chosen: not all faces that were found are in the list.
    assert not page.is_visible("text=Choose who stays visible")
    job = page.get_attribute("li[data-id]:has(video)", "data-id")
    assert asked(page, "POST", f"/api/jobs/{job}/edits", '{"kept": [1]}') == 422
    with page.expect_download() as download:
        page.locator("text=Save all the same").first.click()
    assert download.value.suggested_filename == "before_blurred.jpg"
    # A box beside a face helps nobody.
    job = page.get_attribute("li[data-id]:not(:has(video))", "data-id")
    beside = '{"corrections": [{"keyframes": [{"at": 0, "box": [1, 1, 50, 50]}]}]}'
    assert asked(page, "POST", f"/api/jobs/{job}/edits", beside) == 202
    page.wait_for_selector(f"li[data-id='{job}'][data-verdict=leaks] >> text=1 drawn box covered")
    # What the check has found is shown, and drawn over: then it is covered, however small.
    card = page.locator("li[data-id]:not(:has(video))")
    card.locator("text=Correct masks").click()
    page.wait_for_selector(".editor[data-frame='2/0'] .shown .leak")
    page.click("text=Cover A, which may show")
    page.click("text=Cover this")
    page.click(".editor >> text=Apply")
    page.wait_for_selector(f"li[data-id='{job}'][data-verdict=clean] >> text=2 drawn boxes covered")
    page.click(".editor >> text=Close")
    page.locator("li[data-id]:has(video) >> text=Correct masks").click()
    page.wait_for_selector(".editor[data-frame='1/0'] .shown .leak")
    page.click("text=Next place to look at")
    page.wait_for_selector(".editor[data-frame='1/1'] .shown .leak")


def test_files_can_be_dropped(start: Start, page: Page) -> None:
    page.goto(start("--keep-minutes", "7").address)
    page.wait_for_selector("#keep:has-text('7 minutes')")
    data = base64.b64encode(PHOTO.read_bytes()).decode()
    transfer = page.evaluate_handle(_DROP, data)
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    assert page.locator("#drop.over").count() == 1
    page.dispatch_event("#drop", "dragleave", {"dataTransfer": transfer})
    assert page.locator("#drop.over").count() == 0
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("li[data-verdict=clean]")
    assert page.inner_text("li h3") == "dropped.jpg"
    # The page still has the original, to compare with.
    page.wait_for_selector("li input[type=range]")
    assert page.url.endswith("/")


def test_a_detector_that_dies_in_the_middle_leaves_nothing_to_save(
    start: Start, page: Page, official: str, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    moving_face_video(clip, frames=60, width=640, height=360)
    onnx, model = models.find(official)
    options = ServerOptions(onnx=onnx, model=model, warm_up=False, port=free_port())
    with TritonServer(options) as server:
        site = start(server=server.address)
        page.goto(site.address)
        with site.held("masking"):
            page.set_input_files("#files", clip)
            page.wait_for_selector("li[data-state=masking] progress[value]:not([value='0'])")
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        page.wait_for_selector("li[data-state=failed]")
    assert "Not done, and nothing was saved" in page.inner_text("li")
    assert "nothing uncovered is offered" in page.inner_text(".notice[data-health=lost]")
    assert page.locator("li a:visible").count() == 0
    page.locator("li >> text=Delete").wait_for()
    assert files_in(site.uploads) == []
    # When it is back, the next file is covered, and the page says nothing of it any more.
    with TritonServer(options):
        page.set_input_files("#files", PHOTO)
        page.wait_for_selector("li[data-verdict=clean]")
        page.wait_for_selector(".notice[data-health=lost]", state="hidden")


def _job(owner: str, kind: Kind) -> WebJob:
    return WebJob(id=f"{owner} {kind}", owner=owner, name="", folder=Path(), kind=kind)


def test_everybody_has_a_turn_and_photos_pass_videos() -> None:
    queue = FairQueue(2)
    film, second, photo = (_job("one", kind) for kind in ("video", "video", "image"))
    other, late = (_job("two", kind) for kind in ("image", "video"))
    for job in (film, second, photo, other, late):
        queue.put(job)
    assert [queue.take() for _ in range(3)] == [film, other, photo]
    # One worker stays free of videos. What waits can be taken back, once.
    taken: list[WebJob | None] = []
    looked = threading.Event()
    wait = queue._changed.wait

    def wait_for_more() -> bool:
        looked.set()
        return wait()

    queue._changed.wait = wait_for_more
    waiting = threading.Thread(target=lambda: taken.append(queue.take()))
    waiting.start()
    assert looked.wait(60), "somebody has taken a second video"
    assert taken == []
    assert [queue.withdraw(job) for job in (second, second, film)] == [True, False, False]
    queue.finished(film)
    waiting.join(60)
    assert taken == [late]
    queue.close()
    assert queue.take() is None
