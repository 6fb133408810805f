"""The page in a real browser, on real files, through a real server."""

from __future__ import annotations

import http.client
import http.server
import os
import shutil
import signal
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from media import Recording, moving_face_video
from playwright.sync_api import Page, Route
from probing import decoded, probe
from waiting import until
from web_page import FILES_SHOWN, Served, delete_all, files_in, until_told

from faceblur.batch.private_folder import PREFIX
from faceblur.cli import main
from faceblur.detection.session import DetectionSession
from faceblur.web.listening import MOST_CONNECTIONS

Start = Callable[..., Served]
ROOT = Path(__file__).resolve().parents[2]
OF_A_PHOTO = ["found.json", "masked.jpg", "source.jpg"]


def _blurred(source: Path, session: DetectionSession) -> Path:
    """What the command makes of a file."""
    assert session.server is not None
    output = source.with_name(f"command{source.suffix}")
    line = ["blur", str(source), "-o", str(output), "--server", session.server.address]
    assert CliRunner().invoke(main, line).exit_code == 0
    return output


def test_files_are_covered_checked_and_saved(
    start: Start, page: Page, session: DetectionSession, tmp_path: Path
) -> None:
    photo = Path(shutil.copy(ROOT / "docs" / "images" / "before.jpg", tmp_path / "a <b>.jpg"))
    clip = tmp_path / "clip.mp4"
    moving_face_video(clip, frames=20, width=640, height=360, recording=Recording(sounds=("eng",)))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:3000])
    note = tmp_path / "note.txt"
    note.write_text("no photo")
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    site = start()
    page.goto(site.address)
    page.wait_for_url(f"{site.base}/")
    page.set_input_files("#files", [photo, clip, broken, note])
    page.locator(FILES_SHOWN).nth(3).wait_for(timeout=60_000)
    cards = {card.query_selector("h3").inner_text(): card for card in page.query_selector_all("li")}
    assert "face covered" in cards["clip.mp4"].inner_text()
    assert "Checked: no face shows." in cards["a <b>.jpg"].inner_text()
    assert "Not done, and nothing was saved" in cards["broken.jpg"].inner_text()
    assert "neither a photo nor a video" in cards["note.txt"].inner_text()
    assert str(tmp_path) not in page.inner_text("body")
    # The original stays with its result, which may have to be made again otherwise.
    kinds = "found.json", "masked.jpg", "masked.mp4", "source.jpg", "source.mp4"
    assert files_in(site.uploads) == sorted([*kinds, "found.json"])
    for source in (photo, clip):
        save = cards[source.name].query_selector("a.go")
        with page.expect_download() as download:
            save.click()
        saved = tmp_path / f"saved{source.suffix}"
        download.value.save_as(saved)
        assert download.value.suggested_filename.endswith(f"_blurred{source.suffix}")
        expected = _blurred(source, session)
        if source is photo:
            assert np.array_equal(cv2.imread(str(saved)), cv2.imread(str(expected)))
        else:
            pairs = zip(decoded(saved), decoded(expected), strict=True)
            assert all(np.array_equal(one, other) for one, other in pairs)
            kinds = [stream["codec_type"] for stream in probe(saved)["streams"]]
            assert kinds == ["video", "audio"]
    with page.expect_download() as download:
        page.click("#save-all")
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as whole:
        assert whole.testzip() is None
        assert len(whole.namelist()) == 2
    assert all(url.startswith((site.base, f"blob:{site.base}")) for url in asked)
    # The browser itself tells of the one that was refused.
    assert [text for text in said if "status of 415" not in text] == []
    page.reload()
    page.wait_for_selector("li[data-state=done]")
    # Before anything is lost, it is asked; a file that comes meanwhile counts, too.
    page.click("#delete-all")
    count = page.locator("li").count()
    assert page.inner_text(".question h2") == f"Delete all {count} files here?"
    page.set_input_files("#files", photo)
    page.wait_for_selector(f".question >> text=Delete all {count + 1} files here?")
    page.click(".question >> text=Keep everything")
    page.locator("li[data-state=done]").nth(2).wait_for()
    assert files_in(site.uploads).count("masked.jpg") == 2
    # Another tab may answer it.
    page.click("#delete-all")
    second = page.context.new_page()
    second.goto(site.base)
    second.locator("li[data-state=done]").nth(2).wait_for()
    delete_all(second)
    page.wait_for_selector("li", state="detached")
    page.wait_for_selector(".question", state="hidden")
    assert page.evaluate("document.activeElement.id") == "files"
    assert files_in(site.uploads) == []


def test_a_file_is_cancelled_and_nothing_of_it_stays(
    start: Start, page: Page, tmp_path: Path
) -> None:
    clip = tmp_path / "long.mp4"
    moving_face_video(clip, frames=40, width=320, height=180)
    site = start()
    page.goto(site.address)
    with site.held("masking"):
        page.set_input_files("#files", clip)
        page.wait_for_selector("li[data-state=masking]")
        page.click("text=Cancel")
        page.wait_for_selector("li[data-state=failed]")
    assert "Cancelled. Nothing was saved." in page.inner_text("li")
    assert page.locator("li a:visible").count() == 0
    page.wait_for_timeout(300)
    assert files_in(site.uploads) == []


def test_a_file_that_is_dropped_at_once_waits_for_the_page(start: Start, page: Page) -> None:
    site, photo = start(), ROOT / "docs" / "images" / "before.jpg"
    held: list[Route] = []
    page.route("**/api/session", lambda route: held.append(route))
    page.goto(site.address)
    until_told(page, lambda: held, "the page asks")
    held.clear()
    # Whoever loads it again before the answer is there is still known.
    page.reload()
    until_told(page, lambda: held, "the page asks again")
    page.set_input_files("#files", photo)
    page.wait_for_selector("li[data-state=uploading]")
    assert page.locator("li[data-state=failed]").count() == 0
    # It is shown once, though the server tells of it before it answers.
    with site.held("answer"):
        held[-1].continue_()
        until(lambda: "masked.jpg" in files_in(site.uploads), "it is masked")
        page.wait_for_timeout(300)
        assert page.locator("li").count() == 1
    page.wait_for_selector("li[data-state=done]")
    assert page.locator("li").count() == 1
    # What is dropped just after all others were deleted is not deleted with them.
    held.clear()
    before = page.get_attribute("li", "data-id")
    page.route("**/api/jobs", lambda route: held.append(route))
    page.click("#delete-all")
    page.click(".question .main")
    page.set_input_files("#files", photo)
    page.wait_for_selector("li[data-state=uploading]")
    until_told(page, lambda: held, "they are deleted")
    held[0].continue_()
    page.wait_for_selector(f"li[data-id='{before}']", state="detached")
    page.wait_for_selector("li[data-state=done]")
    assert page.locator("li").count() == 1


def test_without_a_detector_the_page_says_so_and_offers_nothing(start: Start, page: Page) -> None:
    site = start(server="127.0.0.1:9")
    page.goto(site.address)
    page.wait_for_selector(".notice[data-health=lost]")
    page.set_input_files("#files", ROOT / "docs" / "images" / "before.jpg")
    page.wait_for_selector("li[data-state=failed]")
    assert page.locator("li a:visible").count() == 0
    assert files_in(site.uploads) == []


def _ask(base: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> int:
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=60)
    connection.request(method, path, body=body, headers=headers)
    code = connection.getresponse().status
    connection.close()
    return code


def test_only_the_page_itself_may_ask(start: Start, page: Page) -> None:
    site = start()
    assert _ask(site.base, "GET", "/", {}) == 403
    assert _ask(site.base, "GET", "/?token=guess", {}) == 403
    assert _ask(site.base, "GET", "/api/jobs", {}) == 401
    opened = page.goto(site.address)
    assert opened is not None
    headers = opened.all_headers()
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    # The token has worked once.
    assert _ask(site.base, "GET", site.address.removeprefix(site.base), {}) == 403
    page.wait_for_url(f"{site.base}/")  # the page was let in
    proof = page.evaluate("localStorage.getItem('faceblur')")
    right = {
        "Cookie": f"{cookie['name']}={cookie['value']}",
        "X-CSRF-Token": proof,
        "Origin": site.base,
        "Sec-Fetch-Site": "same-origin",
    }
    photo = (ROOT / "docs" / "images" / "before.jpg").read_bytes()

    def send(**changed: str) -> int:
        named = {name.replace("_", "-"): value for name, value in changed.items()}
        return _ask(site.base, "POST", "/api/jobs?name=..%2F..%2Fa.jpg", right | named, photo)

    assert send(X_CSRF_Token="wrong") == 403
    assert send(Origin="http://evil.example") == 403
    assert send(Origin="null") == 403
    assert send(Host="evil.example") == 421
    assert send(Sec_Fetch_Site="cross-site") == 403
    assert send(Sec_Fetch_Site="same-site") == 403
    assert send(Cookie="") == 401
    # None of them came in, and the same request from the page does.
    assert page.locator("li").count() == 0
    assert send() == 201
    page.wait_for_selector("li[data-state=done]")
    assert page.inner_text("li h3") == "a.jpg"
    (folder,) = site.uploads.glob(f"{PREFIX}-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert files_in(site.uploads) == OF_A_PHOTO
    # Who holds all connections and has no session keeps nobody out, nor throws out who has one.
    place = site.base.removeprefix("http://")
    with closing(http.client.HTTPConnection(place, timeout=60)) as listening, ExitStack() as silent:
        listening.request("GET", "/api/events", headers=right)
        told = listening.getresponse()
        for _ in range(MOST_CONNECTIONS + 20):
            host, port = place.split(":")
            silent.enter_context(socket.create_connection((host, int(port)), timeout=60))
        assert send() == 201
        assert any(line.count(b'"a.jpg"') == 2 for line in told)


class _Neighbour(http.server.BaseHTTPRequestHandler):
    """A page of somebody else at another port, which notes what it is sent."""

    cookies: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.cookies.append(self.headers.get("Cookie", ""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def neighbour() -> Iterator[str]:
    _Neighbour.cookies.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Neighbour)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_page_of_another_port_gets_the_cookie_and_can_do_nothing_with_it(
    start: Start, page: Page, neighbour: str
) -> None:
    site, images = start(), ROOT / "docs" / "images"
    page.goto(site.address)
    page.set_input_files("#files", [images / "before.jpg", images / "after.jpg"])
    page.locator("li[data-state=done]").nth(1).wait_for()
    other = page.context.new_page()
    other.goto(neighbour)
    stolen = {"Cookie": _Neighbour.cookies[0]}
    (cookie,) = page.context.cookies()
    assert stolen["Cookie"] == f"{cookie['name']}={cookie['value']}"
    lists = ["/api/session", "/api/jobs", "/api/events", "/api/results.zip", "/api/cameras"]
    assert {_ask(site.base, "GET", path, stolen) for path in lists} == {403}
    guessed = [f"{path}?proof=guess" for path in lists]
    assert {_ask(site.base, "GET", path, stolen) for path in guessed} == {403}
    # A link that names another token does not take the page's own away, nor does loading it again.
    for address in (f"{site.base}/?token=guess", site.base, f"{site.base}/?token="):
        other.goto(address)
        other.locator("li[data-state=done]").nth(1).wait_for()
    with page.expect_download() as saved:
        page.click("#save-all")
    with zipfile.ZipFile(saved.value.path()) as archive:
        assert len(archive.namelist()) == 2


def test_uploads_go_with_the_program_or_at_the_next_start(
    start: Start,
    page: Page,
) -> None:
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", ROOT / "docs" / "images" / "before.jpg")
    page.wait_for_selector("li[data-state=done]")
    assert files_in(site.uploads) == OF_A_PHOTO
    os.kill(site.process.pid, signal.SIGKILL)
    site.process.wait()
    page.wait_for_selector("text=faceblur does not answer")
    assert files_in(site.uploads) == OF_A_PHOTO
    again = start()
    assert files_in(site.uploads) == []
    page.goto(again.address)
    again.process.terminate()
    again.process.wait(timeout=60)
    assert list(site.uploads.glob(f"{PREFIX}-*")) == []
