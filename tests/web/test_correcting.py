"""Correcting masks on the page: what covers no face goes, and a face that shows is covered."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from media import Recording, pattern, record
from playwright.sync_api import Page, Route
from probing import decoded
from web_page import Served, files_in, run, same, saved, until_told

from faceblur.batch.private_folder import PREFIX
from faceblur.detection.detector import Detector
from faceblur.detection.session import DetectionSession
from faceblur.masks.policy import Policy
from faceblur.web.editing.shown_frames import frame_image
from faceblur.web.jobs.edits import Edits
from faceblur.web.jobs.job import WebJob
from faceblur.web.jobs.rendering import FOUND, render

Start = Callable[..., Served]
ROOT = Path(__file__).resolve().parents[2]


def _shown(page: Page, files: str, at: float, side: str) -> Any:
    """A frame as the page shows it, BGR."""
    answer = page.request.get(f"{files}/frame?at={at}&side={side}")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    image = cv2.imdecode(np.frombuffer(answer.body(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.astype(int)


def _found(page: Page, files: str) -> list[dict[str, Any]]:
    """The faces of the third frame."""
    faces: list[dict[str, Any]] = page.request.get(f"{files}/found?at=0.25").json()["faces"]
    return faces


def _at(page: Page, box: Sequence[float], x: float = 0.5, y: float = 0.5) -> tuple[float, float]:
    """Where on the screen a place of a box in the frame is."""
    page.locator(".shown").scroll_into_view_if_needed()
    stage = page.locator(".shown").bounding_box()
    view = page.get_attribute(".shown svg", "viewBox")
    assert stage is not None
    assert view is not None
    *_, width, height = map(float, view.split())
    across, down = box[0] + x * (box[2] - box[0]), box[1] + y * (box[3] - box[1])
    return (
        stage["x"] + across / width * stage["width"],
        stage["y"] + down / height * stage["height"],
    )


def _drag(page: Page, box: Sequence[float]) -> None:
    page.mouse.move(*_at(page, box, -0.1, -0.1))
    page.mouse.down()
    page.mouse.move(*_at(page, box, 1.1, 1.1), steps=3)
    page.mouse.up()


def test_masks_of_a_video_are_removed_drawn_and_undone(
    start: Start, page: Page, two: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", two)
    page.wait_for_selector("li[data-verdict=clean]")
    covered = saved(page, tmp_path / "covered.mp4")
    files = f"{site.base}/api/jobs/{page.get_attribute('li', 'data-id')}"
    page.click("text=Correct masks")
    # Two pages correct one file: what the other has applied comes to what is not applied here.
    first, second, third, fourth = ({"remove": {"track": track}} for track in (1, 2, 3, 4))
    for mine, before, now, both in (
        ([first, second], [first], [first, third], [first, third, second]),
        ([second], [first], [first, third], [third, second]),
        ([first, fourth], [first], [first, fourth], [first, fourth]),
        ([first], [first], [], []),
    ):
        merged = """async (lists) => (await import("/static/corrections.js")).merged(...lists)"""
        assert page.evaluate(merged, [mine, before, now]) == both
    page.wait_for_selector(".editor[data-frame='1/0']")
    # Frame by frame: what is shown is the very frame of that time, and no other.
    page.click("text=Next frame")
    page.focus(".timeline input")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=0:00.25, frame 3 of 20")
    page.wait_for_selector(".editor[data-frame='1/2']")
    images = [image.astype(int) for image in decoded(two, pixel_format="bgr24")]
    masks = [image.astype(int) for image in decoded(covered, pixel_format="bgr24")]
    for side, whole in (("original", images), ("masked", masks)):
        for index in (2, 13, 19, 0):
            frame = _shown(page, files, index / 8, side)
            away = [float(np.abs(frame - image).mean()) for image in whole]
            assert int(np.argmin(away)) == index
            assert away[index] < 3
    for query in ("at=9&side=masked", "at=x&side=masked", "side=original", "at=0&side=both"):
        assert page.request.get(f"{files}/frame?{query}").status == 422
    found = _found(page, files)
    assert len(found) == 2
    # While the next frame is not there yet, nobody draws in it, nor in this one.
    held: list[Route] = []
    page.route("**/frame?*", lambda route: held.append(route))
    page.click("text=Next frame")
    until_told(page, lambda: held, "the page asks for a frame")
    _drag(page, found[0]["box"])
    page.dispatch_event("text=Draw a box", "click")
    assert page.locator(".box:visible").count() == 0
    # What was held goes on then.
    page.unroute("**/frame?*")
    page.wait_for_selector(".editor[data-frame='1/3']")
    # A box stays where it was drawn, whichever frame is shown when it is taken.
    _drag(page, found[0]["box"])
    page.click("text=Previous frame")
    page.wait_for_selector(".editor[data-frame='1/2']")
    page.click("text=Cover this")
    assert "Covered at 0:00.375, followed" in page.inner_text(".corrections")
    page.click(".corrections >> text=Take back")
    # Masks have the numbers that are said of them later.
    numbers = sorted(face["track"] for face in found)
    names = page.locator(".here button:visible").all_inner_texts()
    assert sorted(names) == [f"Remove mask {number}" for number in numbers]
    assert sorted(page.locator(".shown text").all_text_contents()) == [str(n) for n in numbers]
    note = "track 3 stays masked in 2 of 24 frames, where it may be somebody else"
    said_so = """async (note) => (await import("/static/texts.js")).texts.masks.notes([note])"""
    assert page.evaluate(said_so, note) == (
        "Look at this: mask 3 stays in 2 of 24 frames, where it may cover somebody else."
    )
    # A click on a mask takes it away, wherever its face goes; the other one stays.
    page.mouse.click(*_at(page, found[0]["box"]))
    assert page.locator(".corrections li").count() == 1
    assert page.inner_text(".editor [role=status]") == "Not applied yet."
    page.click(".editor >> text=Apply")
    page.wait_for_selector("text=1 mask removed, as you chose. Checked: no other face shows.")
    assert "1 face covered" in page.inner_text("li .status")
    removed = saved(page, tmp_path / "removed.mp4")
    # It is what the command makes of the same correction and list of faces, without a detector.
    listed = tmp_path / "found.json"
    (own,) = site.uploads.glob(f"{PREFIX}-*/*/{FOUND}")
    content = json.loads(own.read_text())
    content["media"][0]["corrections"] = [{"remove": {"track": found[0]["track"]}}]
    listed.write_text(json.dumps(content))
    run("blur", two, "-o", tmp_path / "command.mp4", "--boxes", listed)
    assert same(removed, tmp_path / "command.mp4")
    assert not same(removed, covered)
    # A box that is drawn where the face shows is followed, and nobody shows any more.
    page.wait_for_selector(".editor[data-frame='2/2']")
    (bare,) = (face for face in _found(page, files) if not face["covered"])
    _drag(page, bare["box"])
    page.check("text=Show outlines")
    assert page.locator(".shown .all .masked, .shown .all .gone, .shown .draft").count() == 3
    page.click("text=Cover this")
    assert "Covered at 0:00.25, followed to the end" in page.inner_text(".corrections")
    # It ends where somebody says so, and may be drawn again later.
    page.focus(".timeline input")
    page.keyboard.press("End")
    page.wait_for_selector(".editor[data-frame='2/19']")
    page.click("text=Ends here")
    assert "Covered at 0:00.25, followed until 0:02.375" in page.inner_text(".corrections")
    page.click("text=Draw a box")
    page.select_option(".box select", label="that of correction 2")
    page.uncheck("text=Follow it from here on")
    page.click("text=Cover this")
    assert "Covered at 0:00.25, 0:02.375" in page.inner_text(".corrections")
    page.click("text=Go there")
    page.wait_for_selector(".editor[data-frame='2/2']")
    page.click(".corrections >> text=Take back >> nth=0")
    page.click(".editor >> text=Apply")
    page.wait_for_selector("text=2 faces and 1 drawn box covered in 20 frames")
    page.wait_for_selector("li[data-verdict=clean]")
    drawn = saved(page, tmp_path / "drawn.mp4")
    # Corrections are saved, taken back, and opened again.
    with page.expect_download() as download:
        page.click("text=Save corrections")
    assert download.value.suggested_filename == "two people-corrections.json"
    kept = tmp_path / "corrections.json"
    download.value.save_as(kept)
    (correction,) = json.loads(kept.read_text())["corrections"]
    times = [(keyframe["at"], keyframe.get("follow")) for keyframe in correction["keyframes"]]
    assert times == [("0:00.25", True), ("0:02.375", None)]
    page.click("li >> text=Undo")
    page.wait_for_selector("text=1 mask removed, as you chose.")
    page.wait_for_selector(".corrections >> text=Mask")
    broken = tmp_path / "broken.json"
    broken.write_text('{"corrections": [{"keyfames": []}]}')
    page.set_input_files(".editor input[type=file]", broken)
    page.wait_for_selector("text=That was not opened: corrections[0] in the file has no setting")
    assert page.locator(".corrections li").count() == 1
    page.set_input_files(".editor input[type=file]", kept)
    page.wait_for_selector(".corrections >> text=Covered at 0:00.25, 0:02.375")
    # It is one of the results that are there already.
    page.click(".editor >> text=Apply")
    page.wait_for_selector("text=2 faces and 1 drawn box covered in 20 frames")
    assert same(saved(page, tmp_path / "again.mp4"), drawn)
    # What was looked at was never on the disk, and goes with the file.
    assert not [name for name in files_in(site.uploads) if name.endswith((".jpg", ".png"))]
    page.click("li >> text=Delete")
    page.wait_for_selector("li", state="detached")
    assert files_in(site.uploads) == []
    assert page.request.get(f"{files}/frame?at=0&side=original").status == 404
    assert [text for text in said if "422" not in text] == []


class _Noting:
    """A detector that notes what its file was at whenever it was asked."""

    def __init__(self, detector: Detector, job: WebJob) -> None:
        self._detector, self._job = detector, job
        self.asked: list[str] = []
        self.model = detector.model

    def submit(self, images: Any, **how: Any) -> list[Future[Any]]:
        self.asked.append(self._job.state)
        return self._detector.submit(images, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)


def test_nothing_is_detected_again_but_to_check(
    session: DetectionSession, two: Path, tmp_path: Path
) -> None:
    job = WebJob(id="", owner="", name="two", folder=tmp_path, kind="video", source=two)
    noting = _Noting(session.detector, job)
    shown = dataclasses.replace(session, detector=noting)
    job.results.add(render(job, shown, Policy(), on_change=lambda: None))
    assert set(noting.asked) == {"masking", "checking"}
    noting.asked.clear()
    drawn = {"keyframes": [{"at": 0, "box": [10, 10, 60, 60], "follow": True}]}
    job.wanted = Edits.read(json.dumps({"corrections": [drawn]}).encode())
    result = render(job, shown, Policy(), on_change=lambda: None)
    assert set(noting.asked) == {"checking"}
    assert result.verdict.result == "clean"
    assert all(len(frame.detections) == 3 for frame in result.report.frames)


@pytest.mark.parametrize(
    ("suffix", "encoder"),
    [
        (".ts", "libx264"),
        (".avi", "mpeg4"),
        (".mpg", "mpeg2video"),
        (".flv", "libx264"),
        (".wmv", "wmv2"),
    ],
)
def test_frames_of_files_without_an_index_are_read_from_the_key_frame_before(
    session: DetectionSession, tmp_path: Path, suffix: str, encoder: str
) -> None:
    source = tmp_path / f"clip{suffix}"
    options = {"g": "6"} if encoder == "wmv2" else {"g": "6", "bf": "2"}
    how = Recording(encoder=encoder, options=options)
    record(source, pattern(24), how)
    job = WebJob(id="", owner="", name=source.name, folder=tmp_path, kind="video", source=source)
    result = render(job, session, Policy(), on_change=lambda: None)
    assert result.output.suffix == suffix
    for of, path in ((None, source), (result, result.output)):
        whole = [image.astype(int) for image in decoded(path, pixel_format="bgr24")]
        for index in (23, 9, 0):
            jpeg = frame_image(job, of, index, check_going=lambda: None)
            frame = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert frame is not None
            away = [float(np.abs(frame.astype(int) - image).mean()) for image in whole]
            assert int(np.argmin(away)) == index
    # Each was gone through once for that.
    assert [keys is not None for keys in job.frames.keys.values()] == [True, True]
