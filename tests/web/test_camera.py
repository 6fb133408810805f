"""The computer's camera on the page: Chromium's own fake one, which shows a face."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import fake_camera
import numpy as np
import numpy.typing as npt
from accessibility import WIDTH, faults
from playwright.sync_api import Page
from web_page import Served, asked

from faceblur.detection import models
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions

Start = Callable[..., Served]
Image = npt.NDArray[np.uint8]

_LIVE = "#image[data-state=live]"
_WITHHELD = "#image[data-state=withheld]"


def test_the_camera_shows_nothing_that_was_not_checked(
    start: Start, page: Page, official: str, tmp_path: Path
) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    onnx, model = models.find(official)
    with TritonServer(ServerOptions(onnx=onnx, model=model)) as server:
        site = start(server=server.address)
        page.goto(site.address)
        page.set_viewport_size({"width": WIDTH, "height": 844})
        page.click("nav >> text=Webcam")
        page.wait_for_selector("text=Start the camera")
        assert page.is_hidden("#image")
        page.click("text=Start the camera")
        page.wait_for_selector("text=does not let this page use the camera")
        page.context.grant_permissions(["camera"])
        page.click("text=Start the camera")
        page.wait_for_selector(_LIVE)
        original = fake_camera.image()
        assert not fake_camera.is_covered(original, original), (
            "what finds nothing finds an open face"
        )
        for _ in range(5):
            assert fake_camera.is_covered(_shown(page, original), original)
        page.wait_for_selector("#figures")
        figures = page.inner_text("#figures")
        rate, delay, faces = figures.split(" · ")
        assert float(rate.split()[0]) > 0
        assert float(delay.split()[0]) > 0
        assert faces == "1 face covered"
        # What the camera gives is in no document.
        assert page.locator("video").count() == 0
        assert faults(page) == []
        # Nobody answers.
        page.route("**/images?*", lambda route: None)
        page.wait_for_selector("#state:has-text('nobody says in time')")
        page.wait_for_selector(_WITHHELD)
        assert page.is_hidden("#figures")
        assert fake_camera.drawn(page).std() < 30
        assert faults(page) == []
        page.unroute("**/images?*")
        page.wait_for_selector(_LIVE)
        assert fake_camera.is_covered(_shown(page, original), original)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        page.wait_for_selector("#state:has-text('Not shown, since it could not be checked')")
        page.wait_for_selector(_WITHHELD)
        assert fake_camera.difference(fake_camera.drawn(page), original, at_face=False) > 8
        page.click("text=Stop")
        page.wait_for_selector("#image", state="hidden")
    # A refusal is one.
    assert all("503" in each for each in said), said


def test_only_the_page_of_the_camera_may_ask_for_it(start: Start, page: Page) -> None:
    site = start()
    camera = f"{site.base}/camera"
    stranger = page.request.get(camera)
    assert stranger.status == 403
    assert "camera=()" in stranger.headers["permissions-policy"]
    opened = page.goto(site.address)
    assert opened is not None
    assert "camera=()" in opened.headers["permissions-policy"]
    assert "camera=(self)" in page.request.get(camera).headers["permissions-policy"]
    # Neither another site nor another visitor begins with one or has images covered.
    assert page.request.post(f"{site.base}/api/camera").status == 403
    assert asked(page, "POST", "/api/camera/nobody/images?number=0", "x") == 404
    one = f"/api/camera/{_begun(page)}"
    assert asked(page, "POST", f"{one}/images", "x") == 422
    assert asked(page, "POST", f"{one}/images?number=0", "no image") == 422
    assert asked(page, "POST", f"{one}/images?number=1", "x" * (4 << 20 | 1)) == 413
    # The look-ahead has nothing to give for the first ones; one that was passed is left out.
    assert [_covered(page, one, number) for number in (5, 4, 6)] == [204, 204, 204]
    _begun(page)
    assert asked(page, "POST", "/api/camera") == 409
    assert asked(page, "DELETE", one) == 204
    assert _covered(page, one, 7) == 404


def _shown(page: Page, original: Image) -> Image:
    """What is shown once something is: where the machine is too busy, that is a notice."""
    return fake_camera.shown(page, "#image", original)


def _begun(page: Page) -> str:
    name: str = page.evaluate(
        """async () => {
          const headers = { "X-CSRF-Token": localStorage.getItem("faceblur") };
          return (await (await fetch("/api/camera", { method: "POST", headers })).json()).id;
        }"""
    )
    return name


def _covered(page: Page, camera: str, number: int) -> int:
    done, jpeg = cv2.imencode(".jpg", fake_camera.image())
    assert done
    code: int = page.evaluate(
        """async ([path, data]) => {
          const body = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
          const headers = { "X-CSRF-Token": localStorage.getItem("faceblur") };
          return (await fetch(path, { method: "POST", headers, body })).status;
        }""",
        [f"{camera}/images?number={number}", base64.b64encode(jpeg.tobytes()).decode()],
    )
    return code
