"""`faceblur web` on the shared detector, and Debian's Chromium in front of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import fake_camera
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from web_page import Served, served, served_small

from benchmarks.coverage.videos import write_clip
from benchmarks.people.scenes import SCENES, frames, people
from faceblur.detection.session import DetectionSession

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that was installed already, with a camera that shows a face."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    camera = tmp_path_factory.mktemp("camera") / "camera.y4m"
    fake_camera.write(camera)
    arguments = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=arguments, timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of two people beside each other."""
    clip = tmp_path_factory.mktemp("two") / "two people.mp4"
    scene = next(scene for scene in SCENES if scene.name == "beside each other")
    pair = people(ROOT / "docs" / "images" / "before.jpg")
    drawn = islice(frames(scene, pair, rate=8, seed=1), 20)
    write_clip(clip, [image for image, _ in drawn], rate=8)
    return clip


@pytest.fixture
def start(session: DetectionSession, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a server of the page, with options, on the shared detector or another one."""
    assert session.server is not None
    shared = session.server.address
    with ExitStack() as running:

        def begin(*arguments: str, server: str | None = None) -> Served:
            uploads = tmp_path / "uploads"
            uploads.mkdir(exist_ok=True)
            return running.enter_context(served(uploads, "--server", server or shared, *arguments))

        yield begin


@pytest.fixture
def small(session: DetectionSession, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Start a server of the page that takes little; see `served_small`."""
    assert session.server is not None
    shared = session.server.address
    with ExitStack() as running:

        def begin(*, min_face: float = 0, keep_s: float = 1800) -> Served:
            uploads = tmp_path / "uploads"
            uploads.mkdir()
            site = served_small(uploads, shared, min_face=min_face, keep_s=keep_s)
            return running.enter_context(site)

        yield begin


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window of its own."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    # Waits end at once when there is something; a busy machine is slow.
    opened.set_default_timeout(60_000)
    yield opened
    context.close()
