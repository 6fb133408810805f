"""The cameras of a running service on the page: watched, stopped, started, tried and added."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import fake_camera
import network_camera
import onvif_camera
import pytest
from accessibility import WIDTH, faults
from onvif_camera import Profile
from playwright.sync_api import Page
from waiting import until
from web_page import Served, asked, pictured

from faceblur.detection.session import DetectionSession
from faceblur.live.config.config import load_config
from rig.ports import free_port

Start = Callable[..., Served]
PASSWORD = "p/ß w$0rd"
NAME = "Front door" if os.environ.get("FACEBLUR_SCREENSHOTS") else f"Front door {os.getpid()}"
"""Other tests have cameras, too, which are found as well."""


def _tile(name: str, *, shown: str = "yes") -> str:
    return f"[data-camera='{name}'][data-shown={shown}]"


def test_cameras_are_watched_stopped_and_added(
    start: Start,
    page: Page,
    session: DetectionSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    file = tmp_path / "cameras.yaml"
    assert session.server is not None
    original, shows = fake_camera.image(), threading.Event()
    with (
        network_camera.serving(original) as open_camera,
        network_camera.serving(
            original, user="op", password=PASSWORD, shows=shows
        ) as closed_camera,
        onvif_camera.present(
            Profile(stream=f"{closed_camera}?small", name="sub", codec="JPEG", width=64, height=36),
            Profile(stream=closed_camera, codec="JPEG", width=640, height=360),
            user="op",
            password=PASSWORD,
            name=NAME,
        ),
    ):
        file.write_text(
            f"# Ours.\nlisten: 127.0.0.1:{free_port()}\n"
            f"server: {{address: '{session.server.address}', deadline_s: 10}}\n"
            "defaults: {deadline_s: 10}\n"
            "cameras:\n  door:  # in front\n"
            f"    source: {open_camera}\n    lookahead: 2\n"
            f"    sinks: ['mjpeg:{free_port()}']\n"
        )
        written = file.read_text()
        file.rename(tmp_path / "later")
        site = start("--cameras", str(file))
        page.set_viewport_size({"width": WIDTH, "height": 844})
        page.goto(site.address)
        page.click("nav >> text=Network cameras")
        page.wait_for_selector("text=There is no cameras.yaml yet")
        (tmp_path / "later").rename(file)
        page.wait_for_selector("text=The cameras do not run")
        service = subprocess.Popen(
            [sys.executable, "-m", "faceblur", "run", "-q", str(file)],
            stderr=subprocess.DEVNULL,
            env=os.environ,
            cwd=tmp_path,
        )
        try:
            page.wait_for_selector(_tile("door"))
            assert fake_camera.is_covered(
                fake_camera.shown(page, "#wall canvas", original), original
            )
            assert "images a second" in page.inner_text(".figures")
            _add(page, closed_camera, original, shows)
            # The service runs it without a restart.
            page.locator("[data-camera='back yard']").scroll_into_view_if_needed()
            page.wait_for_selector(_tile("back yard"))
            assert faults(page) == []
            page.emulate_media(color_scheme="light")
            pictured(page, "web-cameras")
            page.click("[aria-label='Stop door']")
            page.wait_for_selector(f"[data-state=stopped]{_tile('door', shown='no')}")
            assert fake_camera.drawn(page, "#wall canvas").std() < 30
            page.click("[aria-label='Start door']")
            page.wait_for_selector("[data-camera=door]:not([data-state=stopped])")
            assert asked(page, "POST", "/api/cameras/orders", '{"do": "end"}') == 422
            assert asked(page, "GET", "/api/cameras/image?camera=nobody") == 422
            # Recordings are shown too, late; where there is nothing to be shown, it says why.
            added = file.read_text()
            recording = "sinks: ['segments:recordings?segment=1']"
            changed = re.sub(r"sinks: \['mjpeg:.*", recording, added, count=1)
            file.write_text(re.sub(r"[\"']?mjpeg:\d+[\"']?", "'null'", changed))
            page.click("text=Read the file again")
            page.wait_for_selector("[data-camera='back yard'] >> text=Its images go nowhere")
            page.wait_for_selector(f"{_tile('door')} >> text=From its recordings: what it saw")
            covered = fake_camera.shown(page, "[data-camera=door] canvas", original)
            assert fake_camera.is_covered(covered, original)
            assert faults(page) == []
            # One that cannot be taken leaves everything as it is.
            file.write_text(added.replace("lookahead: 2", "look: 2"))
            page.click("text=Read the file again")
            page.wait_for_selector("text=was changed and not taken")
        finally:
            service.terminate()
            service.wait(60)
        page.wait_for_selector("text=The cameras do not run")
        assert page.locator("#wall li").count() == 0
    assert added.startswith(written)
    assert PASSWORD not in added
    file.write_text(added)
    assert [camera.name for camera in load_config(file).cameras] == ["door", "back yard"]
    # Other sites, and who has not opened the page, get nothing.
    for path in ("/cameras", "/api/cameras", "/api/cameras/image?camera=door"):
        page.context.clear_cookies()
        assert page.request.get(f"{site.base}{path}").status in (401, 403)


def _add(page: Page, address: str, original: fake_camera.Image, shows: threading.Event) -> None:
    """Add a camera that asks for a password, by the form; it shows nothing before `shows`."""
    assert page.is_hidden("#trial-area")
    for wrong in ("/etc/passwd", "file:///etc/passwd", "testpattern", "rtsp://"):
        page.fill("#address", wrong)
        page.click("text=Try it")
        page.wait_for_selector("text=It is not tried")
    page.fill("#address", "")
    ours = f"[aria-label='Try {NAME} M-1 at 127.0.0.1']"

    def is_found() -> bool:
        page.click("text=Look for cameras")
        page.wait_for_selector("#search:enabled")
        return page.locator(ours).count() == 1

    # A search takes two seconds, and whoever was too busy to answer it is not found.
    until(is_found, "the camera is found")
    page.click(ours)
    page.wait_for_selector("text=127.0.0.1 asks for a user and a password")
    page.fill("#user", "op")
    page.fill("#password", PASSWORD)
    page.click(ours)
    # It has two streams: nothing is tried before one is chosen.
    page.wait_for_selector("text=It gives 2 images. Choose one")
    assert page.locator(".streams li span").all_inner_texts() == [
        "Largest image, 640 × 360 pixels, MJPEG, 25 images a second, called main",
        "Smaller image, 64 × 36 pixels, MJPEG, 25 images a second, called sub",
    ]
    assert page.is_hidden("#trial-area")
    assert faults(page) == []
    pictured(page, "web-streams", "#add")
    page.keyboard.press("Enter")
    # Nothing is added that was not seen.
    page.wait_for_selector("#save-button:disabled")
    shows.set()
    page.wait_for_selector("#trial[data-shown=yes]")
    assert page.input_value("#address") == address
    assert fake_camera.is_covered(fake_camera.shown(page, "#trial", original), original)
    page.fill("#name", "door")
    page.click("#save-button")
    page.wait_for_selector("text=has a camera 'door' already")
    page.fill("#name", "back yard")
    page.click("#save-button")
    page.wait_for_selector("text=It was added, and starts now.")
