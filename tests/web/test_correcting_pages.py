"""Animations and documents of several pages are corrected on the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from accessibility import WIDTH, faults
from media import moving_faces
from PIL import Image
from playwright.sync_api import Page
from web_page import Served, run, saved

from faceblur.batch.private_folder import PREFIX
from faceblur.detections import Detections, FrameDetections, MediaDetections
from faceblur.image.io import read_image
from faceblur.image.stills import Pages
from faceblur.web.editing.shown_frames import frame_image
from faceblur.web.jobs.job import Findings, WebJob
from faceblur.web.jobs.rendering import FOUND
from faceblur.web.jobs.results import Result, Verdict

Start = Callable[..., Served]
FRAMES = 8


def _written(path: Path, images: list[Any], **options: Any) -> Path:
    first, *others = [Image.fromarray(cv2.cvtColor(each, cv2.COLOR_BGR2RGB)) for each in images]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def _pages(path: Path) -> list[Any]:
    return [page.pixels[:, :, :3].astype(int) for page in read_image(path).pages]


def _drag(page: Page, box: tuple[float, ...]) -> None:
    """Draw a box, in shares of the frame."""
    page.locator(".shown").scroll_into_view_if_needed()
    stage = page.locator(".shown").bounding_box()
    assert stage is not None
    for at, act in ((box[:2], page.mouse.down), (box[2:], page.mouse.up)):
        page.mouse.move(
            stage["x"] + at[0] * stage["width"], stage["y"] + at[1] * stage["height"], steps=3
        )
        act()


def test_frames_that_have_become_one_are_shown_at_their_times(tmp_path: Path) -> None:
    shades = [np.full((40, 60, 3), shade, np.uint8) for shade in (30, 90, 150, 210)]
    source = _written(tmp_path / "source.png", shades, duration=100)
    merged = [shades[0], shades[1], shades[3]]
    output = _written(tmp_path / "masked.png", merged, duration=[100, 200, 100])
    pages = [FrameDetections(i, i / 10, Detections.empty()) for i in range(4)]
    report = MediaDetections(source, 60, 40, pages)
    job = WebJob(id="", owner="", name="a.png", folder=tmp_path, source=source)
    job.findings = Findings(report, tmp_path, pages=Pages(are_frames=True))
    verdict = Verdict(result="clean")
    result = Result(
        number=1, output=output, record=tmp_path, faces=0, frames=4, verdict=verdict, report=report
    )
    shown = [
        [_shade(frame_image(job, of, index, check_going=lambda: None)) for index in range(4)]
        for of in (None, result)
    ]
    assert shown == [[30, 90, 150, 210], [30, 90, 90, 210]]


def _shade(jpeg: bytes) -> int:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return round(float(image.mean()))


def test_an_animation_and_a_document_are_corrected(
    start: Start, page: Page, tmp_path: Path
) -> None:
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    images, _ = moving_faces(FRAMES, width=320, height=240)
    clip = _written(tmp_path / "clip.png", images, duration=250)
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", clip)
    page.wait_for_selector("li[data-verdict=clean]")
    assert f"{FRAMES} faces covered in {FRAMES} images" in page.inner_text("li .status")
    covered = _pages(saved(page, tmp_path / "covered.png"))
    page.click("text=Correct masks")
    page.wait_for_selector(".editor[data-frame='1/0']")
    page.focus(".timeline input")
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=0:00.50, frame 3 of 8")
    page.wait_for_selector(".editor[data-frame='1/2']")
    files = f"{site.base}/api/jobs/{page.get_attribute('li', 'data-id')}"
    for side, whole in (("original", images), ("masked", covered)):
        body = page.request.get(f"{files}/frame?at=0.5&side={side}").body()
        frame = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        assert frame is not None
        away = [float(np.abs(frame.astype(int) - image).mean()) for image in whole]
        assert int(np.argmin(away)) == 2
    # A mask is removed where that was said, and up to where.
    page.click(".here >> text=Remove mask 1")
    assert "A mask removed at 0:00.5" in page.inner_text(".corrections")
    page.click("text=Next frame")
    page.wait_for_selector(".editor[data-frame='1/3']")
    assert page.locator(".here >> text=Remove mask 1").count() == 1
    page.click(".corrections >> text=Remove it up to here")
    assert "A mask removed from 0:00.5 until 0:01" in page.inner_text(".corrections")
    # A box is drawn, and held where it is.
    _drag(page, (0.05, 0.05, 0.2, 0.25))
    page.uncheck("text=Follow it from here on")
    page.click("text=Cover this")
    page.click("text=Next frame")
    page.wait_for_selector(".editor[data-frame='1/4']")
    page.click(".corrections >> text=Cover it up to here")
    assert "Covered from 0:00.75 to 0:01" in page.inner_text(".corrections")
    page.click(".editor >> text=Apply")
    page.wait_for_selector(".editor[data-frame='2/4']")
    page.wait_for_selector("text=1 mask removed, as you chose. Checked: no other face shows.")
    status = page.inner_text("li .status")
    assert status.endswith(f"and 1 drawn box covered in {FRAMES} images"), status
    # What was drawn is no mask that can be removed here, and the list says what was.
    assert page.locator(".here button:visible").count() == 1
    made = saved(page, tmp_path / "made.png")
    # It is what the command makes of the same corrections.
    with page.expect_download() as download:
        page.click("text=Save corrections")
    kept = json.loads(Path(download.value.path()).read_text())["corrections"]
    (own,) = site.uploads.glob(f"{PREFIX}-*/*/{FOUND}")
    content = json.loads(own.read_text())
    content["media"][0]["corrections"] = kept
    listed = tmp_path / "found.json"
    listed.write_text(json.dumps(content))
    run("blur", clip, "-o", tmp_path / "command.png", "--boxes", listed)
    assert made.read_bytes() == (tmp_path / "command.png").read_bytes()
    after = _pages(made)
    changed = [bool(np.abs(new - old).max()) for new, old in zip(after, covered, strict=True)]
    assert changed[:2] == [False, False]
    assert changed[2:5] == [True, True, True]
    assert changed[5:] == [False] * 3
    assert np.abs(after[2] - images[2]).max() == 0
    # A document has pages, each of its own size.
    page.click("li >> text=Delete")
    page.wait_for_selector("li", state="detached")
    sheets = [images[0], cv2.resize(images[1], (240, 320)), images[2]]
    page.set_input_files("#files", _written(tmp_path / "paper.tif", sheets))
    page.wait_for_selector("li[data-state=done]")
    page.click("text=Correct masks")
    page.wait_for_selector("text=Page 1 of 3")
    page.set_viewport_size({"width": WIDTH, "height": 800})
    page.click("text=Next page")
    page.wait_for_selector(".editor[data-frame='1/1']")
    assert page.get_attribute(".shown svg", "viewBox") == "0 0 240 320"
    assert page.locator("text=Follow it from here on").is_hidden()
    _drag(page, (0.05, 0.8, 0.2, 0.95))
    page.click("text=Cover this")
    assert "Covered on page 2" in page.inner_text(".corrections")
    assert faults(page) == []
    page.click(".editor >> text=Apply")
    page.wait_for_selector(".editor[data-frame='2/1']")
    files = f"{site.base}/api/jobs/{page.get_attribute('li', 'data-id')}"
    looked, masked = (
        cv2.imdecode(np.frombuffer(page.request.get(address).body(), np.uint8), cv2.IMREAD_COLOR)
        for address in (f"{files}/look?at=page 2", f"{files}/frame?at=page 2")
    )
    assert looked is not None
    assert masked is not None
    assert looked.shape == masked.shape == (320, 240, 3)
    assert np.abs(looked.astype(int) - masked).mean() < 3
    two = _pages(saved(page, tmp_path / "made.tif"))[1]
    assert np.abs(two[260:300, 16:44] - sheets[1][260:300, 16:44]).mean() > 10
    assert said == []
