"""Masks that look otherwise and sound that is muted, seen before and made from what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from media import Recording, moving_face_video
from playwright.sync_api import Page
from probing import decoded
from web_page import Served, asked, pictured

from faceblur.batch.private_folder import PREFIX
from faceblur.cli import main
from faceblur.errors import InputError
from faceblur.masks.style import MaskStyle
from faceblur.web.jobs.edits import Edits
from faceblur.web.jobs.looks import Look

Start = Callable[..., Served]
BLUE = (10, 100, 255)


def _samples(path: Path) -> npt.NDArray[np.float32]:
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _is_blue(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    difference = np.abs(pixels.astype(int) - BLUE[::-1]).max(axis=2)
    return np.asarray(difference < 40)


def _looked(page: Page) -> npt.NDArray[np.uint8]:
    """What the panel shows."""
    page.wait_for_function("() => document.querySelector('.look img').naturalWidth > 0")
    source = page.get_attribute(".look img", "src")
    body = page.request.get(f"{page.url.rstrip('/')}{source}").body()
    return np.asarray(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_a_look_and_the_sound_are_chosen_seen_made_and_undone(
    start: Start, page: Page, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.mp4"
    moving_face_video(clip, frames=10, width=480, height=270, recording=Recording(sounds=("eng",)))
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    site = start()
    page.goto(site.address)
    page.set_input_files("#files", clip)
    page.wait_for_selector("li[data-state=done]")
    page.click("text=Look and sound")
    before = _looked(page)
    assert before.shape == (270, 480, 3)
    assert not _is_blue(before).any()
    page.check("text=One colour")
    page.check("text=Rectangle")
    page.fill("input[type=color]", "#0a64ff")
    page.fill("label:has-text('Reach') input", "0.5")
    page.wait_for_selector(""".look img[src*='0a64ff'][src*='%22expand%22%3A0.5']""")
    seen = _is_blue(_looked(page))
    page.check("text=Silence parts of it")
    page.fill("label:has-text('From') input", "0:00.1")
    page.fill("label:has-text('to') >> nth=-1", "0:00.3")
    pictured(page, "web-look", "li.card")
    page.fill("label:has-text('to') >> nth=-1", "soon")
    page.click("text=Apply")
    page.wait_for_selector("text=Give times such as 1:02.5")
    page.fill("label:has-text('to') >> nth=-1", "0.3")
    with page.expect_response("**/edits"), site.held("answer"):
        with site.held("masking"):
            page.click("text=Apply")
            page.wait_for_selector("li[data-state=masking]")
        page.wait_for_selector("li[data-state=done] >> text=Undo")
        # Whoever looks again at once is not disturbed by an answer that comes late.
        page.click("text=Look and sound")
    with page.expect_download() as download:
        page.click("li a.save")
    made = tmp_path / "made.mp4"
    download.value.save_as(made)
    # The masks are where they were shown, and the frame is that of the command.
    first = decoded(made, pixel_format="bgr24")[0]
    assert (_is_blue(first) & seen).sum() > 0.9 * seen.sum() > 500
    (listed,) = site.uploads.glob(f"{PREFIX}-*/*/found.json")
    look = ("--mask", "solid", "--colour", "0a64ff", "--shape", "box", "--expand", "0.5")
    how = ("--boxes", listed, *look, "--audio", "mute 0:00.1-0:00.3")
    line = ["blur", listed.with_name("source.mp4"), "-o", tmp_path / "command.mp4", *how]
    result = CliRunner().invoke(main, list(map(str, line)))
    assert result.exit_code == 0, result.output
    pairs = zip(decoded(made), decoded(tmp_path / "command.mp4"), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
    heard = _samples(made)
    assert np.array_equal(heard, _samples(tmp_path / "command.mp4"))
    assert not np.array_equal(heard, _samples(clip)[:, : heard.shape[1]])
    # Nothing was looked for again.
    (manifest,) = listed.parent.glob("record-2/audit/00000001.jsonl")
    with manifest.open() as lines:
        assert json.loads(next(lines))["detector"] == "boxes"
    assert page.is_checked("text=One colour")
    assert page.input_value("label:has-text('From') input") == "0:00.1"
    page.click(".look >> text=As usual")
    page.check("text=Keep it")
    assert page.is_checked("text=A soft patch")
    page.click("text=Apply")
    # That is the first result again, which need not be made.
    page.wait_for_selector("li[data-state=done] video[src*='version=1']")
    assert sorted(path.name for path in listed.parent.glob("masked*")) == [
        "masked-2.mp4",
        "masked.mp4",
    ]
    job = page.get_attribute("li", "data-id")
    wrong = ('{"mode": "image"}', '{"expand": 9}', '{"colour": "red"}', "[]", "", "9" * 5000)
    asked_for = [f"/api/jobs/{job}/look?look={text.replace('#', '%23')}" for text in wrong]
    assert {asked(page, "GET", path) for path in asked_for} == {422}
    assert asked(page, "GET", f"/api/jobs/{job}/look?at=99") == 422
    late = '{"sound": {"muted": [{"effect": "mute", "time": {"start_s": 9}}]}}'
    assert asked(page, "POST", f"/api/jobs/{job}/edits", late) == 422
    assert said == []


def test_a_look_that_is_the_usual_one_is_none() -> None:
    usual = MaskStyle(mode="solid", color=(1, 2, 255), expand=0.5)
    look = Look.of(usual)
    assert look.colour == "#0102ff"
    assert Edits(look=look).in_style(usual) == Edits()
    assert Edits(look=look).in_style(MaskStyle()) == Edits(look=look)
    assert look.style(MaskStyle()).color == usual.color
    with pytest.raises(InputError, match="needs an image"):
        Edits(look=Look(mode="image")).in_style(usual)
    sound = b'{"look": {"mode": "blur"}, "sound": {"audio": "drop"}}'
    edits = Edits.read(sound)
    assert Edits.read(json.dumps(edits.to_json()).encode()) == edits
