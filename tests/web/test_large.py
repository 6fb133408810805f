"""Files that claim or take more than they seem to, and those that wait beside them."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from web_programs import TOKEN, Programs, programs

from faceblur.errors import InputError
from faceblur.image.decoding import held_pixels
from faceblur.image.io import read_image
from faceblur.masks.policy import Policy
from faceblur.web.jobs import worker
from faceblur.web.jobs.fair_queue import FairQueue
from faceblur.web.jobs.job import Submission, WebJob
from faceblur.web.jobs.results import Result
from faceblur.web.jobs.store import JobStore
from faceblur.web.jobs.worker import Workers
from faceblur.web.options import Limits, WebOptions


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Programs]:
    with programs(tmp_path, WebOptions(token=TOKEN, limits=Limits(pixels=300_000))) as running:
        yield running


def _pages(name: str, *sizes: tuple[int, int]) -> bytes:
    pages = [Image.new("L", size, number) for number, size in enumerate(sizes)]
    file = io.BytesIO()
    pages[0].save(file, name, save_all=True, append_images=pages[1:])
    return file.getvalue()


def _radiance(width: int, height: int) -> bytes:
    return f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode() + bytes(99)


def test_what_would_fill_the_memory_is_refused_before_it_is_decoded(
    served: Programs, tmp_path: Path
) -> None:
    # A few bytes each: frames of an animation are in memory together, pages are not.
    animation = _pages("GIF", *[(200, 200)] * 9)
    for name, data in (
        ("a.gif", animation),
        ("a.tif", _pages("TIFF", (9, 9), (900, 900))),
        ("a.hdr", _radiance(30_000, 30_000)),
        ("a.hdr", _radiance(600, 600)),
    ):
        answer = served.send(data, name=name)
        assert answer.status_code in (413, 415), name
        assert "million" in answer.json()["error"], name
    for name, data in (
        ("a.gif", _pages("GIF", *[(200, 200)] * 7)),
        ("a.tif", _pages("TIFF", *[(500, 500)] * 9)),
        ("a.hdr", _radiance(500, 500)),
    ):
        assert served.send(data, name=name).status_code == 201, name
    bomb = tmp_path / "bomb.hdr"
    # What stands before the format is not its size.
    bomb.write_bytes(_radiance(30_000, 30_000).replace(b"\n", b"\n-Y 5 +X 5\n", 1))
    with pytest.raises(InputError, match="30000 × 30000 pixels, more than 500 million"):
        read_image(bomb)


@pytest.mark.parametrize("suffix", [".hdr", ".pic", ".pfm", ".ras", ".pam", ".tif"])
def test_the_size_is_known_of_what_only_opencv_reads(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    floats = suffix in (".hdr", ".pic", ".pfm", ".tif")
    pixels = np.full((12, 34, 3), 0.5 if floats else 99, np.float32 if floats else np.uint8)
    assert cv2.imwrite(str(path), pixels)
    assert held_pixels(path) == 12 * 34
    assert next(read_image(path).pages).pixels.shape == (12, 34, 3)


class _Detectors:
    def session(self, kind: str, *, stop: threading.Event) -> None:
        pass


def test_a_photo_passes_images_that_take_all_of_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    huge_begun, photo_done, all_done = (threading.Event() for _ in range(3))

    def render(job: WebJob, *_: object, **__: object) -> Result:
        assert job.name == "huge" or huge_begun.wait(60)
        begun.append(job.name)
        huge_begun.set()
        # The photo is done though a huge image is not.
        assert job.name == "photo" or photo_done.wait(60)
        raise InputError("it is damaged")

    def settled(job: WebJob) -> None:
        if job.name == "photo":
            photo_done.set()
        if all(each.state == "failed" for each in store.of("somebody")):
            all_done.set()

    monkeypatch.setattr(worker, "render", render)
    monkeypatch.setattr(worker, "memory_bytes", lambda plan: 20 * int(plan.source.read_text()))
    store = JobStore(tmp_path, WebOptions(), FairQueue(2))
    store.on_settled = settled
    for name, pixels in (("huge", 10**9), ("other", 10**9), ("photo", 12_000_000)):
        job = store.begin("somebody", Submission(name=name))
        job.source, job.pixels = job.folder / "source.jpg", pixels
        job.source.write_text(str(pixels))
        store.submit(job)
    detectors: Any = _Detectors()
    with Workers(store, detectors, Policy(), count=2):
        assert photo_done.wait(60)
        assert all_done.wait(60)
    assert begun == ["huge", "photo", "other"]
