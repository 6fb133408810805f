"""The comparison with deface can tell a leak, and measures every process of a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
import pytest

from benchmarks.coverage.score import MARK
from benchmarks.coverage.videos import write_clip
from benchmarks.versus.clips import Excerpt, Format, fitted, make_clip, make_slides
from benchmarks.versus.process import Usage, measure
from benchmarks.versus.programs import DEFAULT, EQUAL, OURS, writer
from benchmarks.versus.report import Result, judge, write_report
from benchmarks.versus.score import Masked, fewer, lasting, score
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.style import MaskStyle
from faceblur.masks.surface import ArraySurface
from faceblur_export.data.formats import read_folder

SIZE = (1280, 720)
FACES = np.array([[100, 100, 140, 150], [600, 300, 620, 328], [900, 200, 1040, 400]], np.float32)
"""Heights in an image 640 pixels wide: 25, 14, 100."""

CORES = os.sched_getaffinity(0)


def masked_clip(path: Path, *, missing: int | None = None, frames: int = 4) -> Path:
    """A video whose faces are masked, but in its second frame all but one."""
    masker = Masker(MaskStyle(mode="solid", color=MARK))

    def images() -> Iterator[BgrImage]:
        for index in range(frames):
            image = np.full((SIZE[1], SIZE[0], 3), (90, 120, 160), np.uint8)
            kept = [i for i in range(len(FACES)) if index != 1 or i != missing]
            found = Detections(
                FACES[kept], np.ones(len(kept), np.float32), np.zeros((len(kept), 5, 2), np.float32)
            )
            masker.apply(ArraySurface(image), found)
            yield image

    write_clip(path, images())
    return path


LABELS = {0: FACES, 1: FACES, 3: FACES}


def test_masked_faces_are_counted_by_size(tmp_path: Path) -> None:
    found = score(masked_clip(tmp_path / "a.mp4"), LABELS, frames=4)
    assert found.faces == {8: 3, 24: 3, 48: 3}
    assert found.leaked.total() == 0
    assert found.masked(24) == 3


@pytest.mark.parametrize(("missing", "low"), [(0, 24), (1, 8), (2, 48)])
def test_a_masker_that_misses_a_face_once_leaks(tmp_path: Path, missing: int, low: int) -> None:
    sound = score(masked_clip(tmp_path / "a.mp4"), LABELS, frames=4)
    broken = score(masked_clip(tmp_path / "b.mp4", missing=missing), LABELS, frames=4)
    assert {key: n for key, n in broken.leaked.items() if n} == {low: 1}
    assert len(fewer(broken, sound)) == (low >= 16)
    assert not fewer(sound, broken)


def test_a_video_with_other_frames_is_not_scored(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="4 frames instead of 5"):
        score(masked_clip(tmp_path / "a.mp4"), LABELS, frames=5)


def test_a_clip_is_made_of_equal_parts(tmp_path: Path) -> None:
    for name, shade in (("dark", 30), ("light", 220)):
        grey = np.full((120, 160, 3), shade, np.uint8)
        write_clip(tmp_path / f"{name}.mp4", iter([grey] * 3))
    excerpts = [Excerpt.parse(str(tmp_path / f"{name}.mp4")) for name in ("dark", "light")]
    target = tmp_path / "clip.mp4"
    make_clip(target, excerpts, Format(*SIZE, 5))
    everything = {index: np.zeros((0, 4), np.float32) for index in range(5)}
    assert score(target, everything, frames=5).faces.total() == 0
    with pytest.raises(click.ClickException, match="lower --frames"):
        make_clip(target, excerpts, Format(*SIZE, 7))


def test_labels_go_along_with_their_images(tmp_path: Path) -> None:
    image = np.full((480, 640, 3), (90, 120, 160), np.uint8)
    image[100:200, 300:380] = MARK[::-1]
    cv2.imwrite(str(tmp_path / "a.png"), image)
    (tmp_path / "labels.txt").write_text("a.png\n2\n300 100 80 100 face\n500 300 80 100 face\n")
    slides = tmp_path / "slides.mp4"
    labels = make_slides(slides, read_folder(tmp_path), width=SIZE[0], height=SIZE[1])
    assert labels[0].tolist() == [[610, 150, 730, 300], [910, 450, 1030, 600]]
    found = score(slides, labels, frames=1)
    assert (found.faces[48], found.leaked[48]) == (2, 1)


def test_a_image_is_fitted_without_distortion() -> None:
    shown = fitted(np.full((480, 640, 3), 200, np.uint8), *SIZE)
    assert shown.shape == (720, 1280, 3)
    assert np.flatnonzero(shown[360, :, 0]).tolist() == list(range(160, 1120))
    assert shown[:, 640].all()


BURN = "import time\nwhile time.process_time() < {s}: pass"


def test_the_cpu_time_of_orphans_counts() -> None:
    # Its own time is next to nothing: what burns is a child that nobody waits for.
    parent = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN.format(s=0.4)!r}])"
    )
    usage = measure([sys.executable, "-c", parent], cores=CORES)
    assert usage.cpu_s > 0.4


def test_memory_of_children_counts() -> None:
    def peak_mb(seconds: float) -> float:
        child = f"x = bytearray(b'1') * 150_000_000; import time; time.sleep({seconds})"
        parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
        usage = measure([sys.executable, "-c", parent], cores=CORES, memory=True)
        assert usage.peak_mb is not None
        assert usage.peak_mb < 400
        return usage.peak_mb

    # Who looks every tenth of a second may be held up for longer.
    assert any(peak_mb(seconds) > 150 for seconds in (0.5, 5, 20))


def test_a_program_that_fails_is_not_measured() -> None:
    with pytest.raises(click.ClickException, match="no such thing"):
        measure([sys.executable, "-c", "import sys; sys.exit('no such thing')"], cores=CORES)


def test_both_are_given_the_same_encoder_settings() -> None:
    given = writer({"preset": "veryfast", "crf": "20"})
    assert given["output_params"] == ["-preset", "veryfast", "-crf", "20"]
    assert given["quality"] is None


def result(seconds: dict[str, float]) -> Result:
    compared = Result(Format(*SIZE, 100), list(seconds))
    for name, wall_s in seconds.items():
        start = Usage(1.0, 0.5, None, "")
        for drift in (1.0, 1.5):
            compared.add(name, start=start, whole=Usage(drift * wall_s, 2 * wall_s, None, ""))
        compared.masked[name] = Masked()
    return compared


def test_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    compared = result({OURS: 5.0, DEFAULT: 26.0, EQUAL: 9.0})
    assert compared.summary(DEFAULT).ratio == pytest.approx(5.2)
    assert compared.summary(OURS).frames_per_s == pytest.approx((20 + 100 / 7.5) / 2)
    assert list(judge([compared], {}).values()) == [True, False, True]
    write_report(tmp_path, results=[compared], listed={}, card={"cores": 2}, command="versus")
    text = (tmp_path / "versus.md").read_text()
    assert "- met: 720p: at least 5 times as fast as deface: 5.20 times" in text
    assert "- **missed**: 720p: at least 2 times as fast as deface, equal network: 1.80" in text
    assert (tmp_path / "versus.png").stat().st_size > 1000


def test_fewer_masked_faces_miss_the_target() -> None:
    compared = result({OURS: 1.0, DEFAULT: 9.0, EQUAL: 9.0})
    for name in compared.masked:
        compared.masked[name].faces[24] = 10
    compared.masked[DEFAULT].leaked[24] = 3
    compared.masked[EQUAL].leaked[24] = 1
    compared.masked[OURS].leaked[24] = 1
    assert all(judge([compared], {}).values())
    compared.masked[OURS].leaked[24] = 2
    assert list(judge([compared], {}).values())[-1] is False


def test_a_label_that_shows_for_one_frame_alone_is_none() -> None:
    there, moved, pattern = [0, 0, 20, 20], [10, 0, 30, 20], [60, 60, 80, 80]
    labels = {0: [there], 3: [moved, pattern], 6: [pattern], 9: [], 12: [there]}
    boxes = {index: np.array(each, np.float32).reshape(-1, 4) for index, each in labels.items()}
    kept = {index: each.tolist() for index, each in lasting(boxes, every=3).items()}
    assert kept == {0: [there], 3: [moved, pattern], 6: [pattern], 9: [], 12: []}
