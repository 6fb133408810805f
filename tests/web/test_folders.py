"""Whole folders, dropped and chosen, and what they are called in the archive."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page
from web_page import FILES_SHOWN, Served, files_in

from faceblur.web.jobs.job import shown_name

Start = Callable[..., Served]
PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"


def _drop(page: Page, folder: Path) -> None:
    """Drop a folder on the page, as a file manager does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 200, "data": data})


def test_folders_are_dropped_and_keep_their_names_in_the_archive(
    small: Start, page: Page, tmp_path: Path
) -> None:
    folder = tmp_path / "holiday"
    for day in ("one", "two"):
        (folder / day).mkdir(parents=True)
        shutil.copy(PHOTO, folder / day / "a.jpg")
    (folder / "notes.txt").write_text("not for the page")
    shutil.copy(PHOTO, folder / ".hidden.jpg")
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    site = small()
    page.goto(site.address)
    page.wait_for_url(f"{site.base}/")  # the page was let in
    _drop(page, folder)
    page.locator(FILES_SHOWN).nth(2).wait_for()
    titles = sorted(page.locator("li h3").all_inner_texts())
    assert titles == ["holiday/", "holiday/one/a.jpg", "holiday/two/a.jpg"]
    assert "neither photos nor videos: notes.txt" in page.inner_text("li[data-state=failed]")
    # On the server a name is no path.
    assert list(site.uploads.rglob("holiday*")) == []
    assert files_in(site.uploads).count("masked.jpg") == 2
    with page.expect_download() as download:
        page.click("#save-all")
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as whole:
        names = sorted(whole.namelist())
    assert names == ["holiday/one/a_blurred.jpg", "holiday/two/a_blurred.jpg"]
    # One that does not fit as a whole is not begun.
    page.set_input_files("#folder", folder)
    page.wait_for_selector("text=it holds 2 photos and videos, and there is room for 1")
    assert page.locator("li[data-state=done]").count() == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    _drop(page, empty)
    page.wait_for_selector("text=there is no photo and no video in it")
    assert said == []


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("a/b/c.jpg", "a/b/c.jpg"),
        ("a/./../b/c.jpg", "a/b/c.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("/home/somebody/a.jpg", "a.jpg"),
        ("C:\\Users\\somebody\\a.jpg", "a.jpg"),
        ("C:/Users/a.jpg", "a.jpg"),
        ("a//b.jpg", "a/b.jpg"),
        ("a/", "a/file"),
        ("", "file"),
        ("x\u202egpj/y\n.jpg", "xgpj/y.jpg"),
        # No program unpacks a name of more than 255 bytes.
        ("中" * 200 + "/" + "é" * 200 + ".jpg", "中" * 60 + "/" + "é" * 90 + ".jpg"),
        ("a" * 179 + " b.jpg", "a" * 179 + ".jpg"),
    ],
)
def test_names_are_shown_and_hold_no_path_of_anybody(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown
