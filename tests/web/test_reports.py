"""The record of a result: what somebody who has to account for it gets on request."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from media import moving_face_video
from playwright.sync_api import Page
from web_page import FILES_SHOWN, Served, delete_all, pictured

from faceblur.cli import main
from faceblur.detection.session import DetectionSession
from faceblur.files import file_sha256

Start = Callable[..., Served]
PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"


def _saved(page: Page, selector: str, path: Path) -> Path:
    with page.expect_download() as download:
        page.click(selector)
    download.value.save_as(path)
    return path


def test_a_report_says_what_was_done_and_the_command_confirms_it(
    start: Start, page: Page, session: DetectionSession, tmp_path: Path
) -> None:
    clip = tmp_path / "here & there.mp4"
    moving_face_video(clip, frames=10, width=640, height=360)
    photo = Path(shutil.copy(PHOTO, tmp_path / "portrait.jpg"))
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", [clip, photo])
    page.locator(FILES_SHOWN).nth(1).wait_for()
    page.wait_for_selector("li input[type=range]")
    pictured(page, "web")
    film = f"li:has-text('{clip.name}')"
    saved = _saved(page, f"{film} a.save", tmp_path / "saved.mp4")
    packed = _saved(page, f"{film} >> text=Report", tmp_path / "report.zip")
    record = tmp_path / "record"
    with zipfile.ZipFile(packed) as whole:
        names = [name.partition("/")[2] for name in whole.namelist()]
        assert {name.partition("/")[0] for name in whole.namelist()} == {
            "here & there_blurred_report"
        }
        whole.extractall(tmp_path / "unpacked")
        shutil.move(tmp_path / "unpacked" / "here & there_blurred_report", record)
    assert names == ["audit/00000001.jsonl", "audit/head.json", "report.html", "verify.json"]
    facts, *frames = map(json.loads, (record / "audit" / "00000001.jsonl").open())
    assert facts["source"] == {
        "name": clip.name,
        "sha256": file_sha256(clip),
        "bytes": clip.stat().st_size,
    }
    assert facts["output"]["name"] == "here & there_blurred.mp4"
    assert facts["output"]["sha256"] == file_sha256(saved)
    assert len(frames) == 10
    assert all(frame["faces"] for frame in frames)
    checked = json.loads((record / "verify.json").read_text())
    assert (checked["result"], checked["output"]) == ("clean", "here & there_blurred.mp4")
    # It names no folder of this machine, and shows no image.
    text = (record / "report.html").read_text()
    assert "nothing in the result looks like a face" in text
    assert "<bdi>here &amp; there_blurred.mp4</bdi>" in text
    assert file_sha256(saved) in text
    assert "<img" not in text
    for path in record.rglob("*.*"):
        assert str(tmp_path) not in path.read_text()
        assert str(site.uploads) not in path.read_text()
    # What it says, the command finds again.
    assert session.server is not None
    told = ("--source", clip, "--audit", record / "audit", "--server", session.server.address)
    line = ["verify", saved, *told]
    assert CliRunner().invoke(main, list(map(str, line))).exit_code == 0
    assert CliRunner().invoke(main, ["verify", str(clip), *map(str, told)]).exit_code != 0
    # All at once: without reports, and with them.
    with zipfile.ZipFile(_saved(page, "#save-all", tmp_path / "all.zip")) as whole:
        assert sorted(whole.namelist()) == ["here & there_blurred.mp4", "portrait_blurred.jpg"]
    page.check("text=with a report on each")
    with zipfile.ZipFile(_saved(page, "#save-all", tmp_path / "more.zip")) as whole:
        assert len(whole.namelist()) == 10
        assert "portrait_blurred_report/report.html" in whole.namelist()
    delete_all(page)
    assert list(site.uploads.glob("*/*")) == []
