"""Animations are corrected frame by frame, and documents page by page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from faceblur.cli import main
from faceblur.image.io import read_image
from faceblur.image.stills import Pages, page_starts, page_stills, pages_of
from faceblur.proof.verify.audited import AuditedOutput

Array = npt.NDArray[np.uint8]

FRAMES, FRAME_MS = 12, 100
WIDTH, HEIGHT = 200, 120
STILL = [150, 70, 180, 110]
"""A box that is listed in every frame."""


def _moving(index: int) -> tuple[int, int, int, int]:
    """Where something is that no list knows."""
    return 10 + 6 * index, 20, 50 + 6 * index, 60


def _frame(index: int) -> Array:
    rng = np.random.default_rng(5)
    image = np.asarray(rng.integers(60, 90, (HEIGHT, WIDTH, 3)), np.uint8)
    x0, y0, x1, y1 = _moving(index)
    image[y0:y1, x0:x1] = np.kron(rng.integers(90, 255, (10, 10, 3)), np.ones((4, 4, 1)))
    return image


def _animation(path: Path, *, duration: int = FRAME_MS) -> Path:
    first, *others = [Image.fromarray(_frame(index)) for index in range(FRAMES)]
    first.save(path, save_all=True, append_images=others, duration=duration, loop=0)
    return path


def _document(path: Path) -> Path:
    grey = [np.full(size, 200, np.uint8) for size in ((120, 200), (300, 200), (120, 200))]
    first, *others = [Image.fromarray(page) for page in grey]
    first.save(path, save_all=True, append_images=others)
    return path


def _blur(image: Path, corrections: Sequence[Any], *, times_s: Sequence[float]) -> Result:
    """Mask by a list that has one still box on every page, and corrections."""
    listed = image.with_suffix(".json")
    faces = [{"box": STILL, "score": 0.9}]
    frames = [{"index": i, "pts_s": at, "faces": faces} for i, at in enumerate(times_s)]
    media = {"path": str(image), "width": WIDTH, "height": HEIGHT, "frames": frames}
    media["corrections"] = corrections
    listed.write_text(json.dumps({"version": 2, "media": [media]}))
    line = ["blur", image, "-o", _out(image), "--boxes", listed, "--mask", "solid"]
    line += ["--shape", "box", "--expand", "0", "--again", "--audit", image.parent / "audit"]
    return CliRunner().invoke(main, [*map(str, line)], catch_exceptions=False)


def _out(image: Path) -> Path:
    return image.with_name(f"out{image.suffix}")


def _share(pixels: Array, box: Sequence[float]) -> float:
    """How much of a box is masked."""
    x0, y0, x1, y1 = map(round, box)
    part = pixels[y0:y1, x0:x1].reshape(-1, 1 if pixels.ndim == 2 else pixels.shape[2])
    return float((part[:, :3] == 0).all(axis=1).mean())


TIMES = [index * FRAME_MS / 1000 for index in range(FRAMES)]


@pytest.mark.parametrize(("suffix", "duration"), [(".png", FRAME_MS), (".gif", 0)])
def test_an_animation_is_followed_and_removed_from_frame_to_frame(
    tmp_path: Path, suffix: str, duration: int
) -> None:
    clip = _animation(tmp_path / f"clip{suffix}", duration=duration)
    # Frames that name no time are told apart as pages.
    first, end, at, until = ("page 3", "page 9", "page 5", "page 7")
    if duration:
        first, end, at, until = ("0:00.2", "0:00.8", "0.45", "0.55")
    followed = {"keyframes": [{"at": first, "box": _moving(2), "follow": True}], "until": end}
    removed = {"remove": {"at": at, "box": [149, 71, 180, 110]}, "until": until}
    times_s = TIMES if duration else [0.0] * FRAMES
    result = _blur(clip, [followed, removed], times_s=times_s)
    assert result.exit_code == 0, result.output
    pages = [page.pixels for page in read_image(_out(clip)).pages]
    assert len(pages) == FRAMES
    for index, page in enumerate(pages):
        is_drawn, is_gone = 2 <= index < 8, index in (4, 5)
        assert _share(page, STILL) == (0 if is_gone else 1)
        if not is_drawn:
            assert _share(page, _moving(index)) == 0
        else:
            assert _share(page, _moving(index)) > 0.95
            # It has not simply grown over everything.
            assert _share(page, (0, 0, WIDTH, 60)) < 0.35
    # Whoever checks the result knows what is meant.
    audit = AuditedOutput.of(tmp_path / "audit", _out(clip), clip)
    box = np.array(STILL, np.float32)
    left = []
    for _ in range(FRAMES):
        audit.masked(Fraction(0))
        left.append(audit.left_alone(box, None))
    assert [index for index in range(FRAMES) if left[index]] == [4, 5]


def test_a_box_is_held_over_the_pages_of_a_document(tmp_path: Path) -> None:
    paper = _document(tmp_path / "paper.tif")
    assert pages_of(paper) == Pages(sizes=((200, 120), (200, 300), (200, 120)))
    stamp = [20, 20, 60, 60]
    held = {"keyframes": [{"at": "page 1", "box": stamp}, {"at": "page 2", "box": stamp}]}
    below = {"keyframes": [{"at": "page 2", "box": [20, 200, 60, 260]}]}
    removed = {"remove": {"at": "Page 3", "box": STILL}}
    times_s = [0.0] * 3
    result = _blur(paper, [held, below, removed], times_s=times_s)
    assert result.exit_code == 0, result.output
    one, two, three = [page.pixels for page in read_image(_out(paper)).pages]
    assert [_share(page, stamp) for page in (one, two, three)] == [1, 1, 0]
    assert [_share(page, STILL) for page in (one, two, three)] == [1, 1, 0]
    assert _share(two, (20, 200, 60, 260)) == 1
    _out(paper).unlink()
    for wrong, reason in (
        ({"keyframes": [{"at": 0, "box": stamp}]}, 'have no times: give a page such as "page 2"'),
        ({"keyframes": [{"at": "page 9", "box": stamp}]}, "there is no more than 3"),
        ({"keyframes": [{"at": "page 0", "box": stamp}]}, 'a page such as "page 3"'),
        ({"keyframes": [{"at": "page 1", "box": stamp, "follow": True}]}, "pages do not move"),
        ({"keyframes": [{"at": "page 1", "box": [20, 200, 60, 260]}]}, "lies beside its page"),
        ({"remove": {"track": 1}}, "an image has none"),
        ({"remove": {"at": "page 2", "box": [1, 1, 9, 9]}}, "where the list has none"),
        ({"remove": {"at": "page 2", "box": STILL}, "until": "page 2"}, "before it begins"),
        ({"remove": {"at": "page 1", "box": STILL}, "until": 4}, "both times and pages"),
    ):
        refused = _blur(paper, [wrong], times_s=times_s)
        assert (refused.exit_code, _out(paper).exists()) == (3, False), refused.output
        assert len(refused.stderr.strip().splitlines()) == 1
        assert reason in refused.stderr
    incomplete = _blur(paper, [held], times_s=times_s[:2])
    assert "lists 2 of 3 pages" in incomplete.stderr


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_single_pages_are_those_of_reading_from_the_start(tmp_path: Path, suffix: str) -> None:
    clip = _animation(tmp_path / f"clip{suffix}")
    whole = [page.pixels for page in read_image(clip).pages]
    asked: list[int] = []
    found = page_stills(clip, range(7, 9), on_page=lambda: asked.append(1))
    assert found.keys() == {7, 8}
    assert all(np.array_equal(found[i], whole[i][:, :, :3]) for i in found)
    assert len(asked) == 2
    assert pages_of(clip) == Pages(are_frames=True)
    assert page_starts(clip) == [Fraction(index, 10) for index in range(FRAMES)]
