"""What moves in a file is masked from its first frame on, or nothing comes out."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from media import Recording, record
from mp4_boxes import set_display_matrix
from probing import decoded, luma

from faceblur.batch.faces import FrameFaces, VideoFaces
from faceblur.batch.fixed_view import FixedView
from faceblur.batch.video import Progress, mask_video
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.moving.options import MovingOptions
from faceblur.video.options import VideoOptions

POLICY = Policy(mask=MaskStyle(mode="solid"), moving=MovingOptions(mode="mask"))
LOSSLESS = VideoOptions(encoder="ffv1")
FRAMES = 24


class NoFaces:
    """Finds no face in anything."""

    def in_image(self, image: object) -> object:
        raise NotImplementedError

    def in_video(self, source: Path, properties: object) -> VideoFaces:
        return VideoFaces(
            make_inputs=None,
            find=lambda items: (FrameFaces(item.frame, Detections.empty()) for item in items),
            name_tracks=lambda _: [],
        )


def walking(*, pan: int = 0, width: int = 24) -> tuple[list[BgrImage], list[tuple[slice, slice]]]:
    """Somebody who is there from the first frame and walks through; where, in each frame."""
    rng = np.random.default_rng(5)
    room = np.repeat(np.repeat(rng.integers(60, 200, (9, 24)), 20, 0), 20, 1).astype(np.uint8)
    places = [(slice(60, 150), slice(10 + 9 * i, 10 + width + 9 * i)) for i in range(FRAMES)]
    images = []
    for index, place in enumerate(places):
        image = np.repeat(np.roll(room, pan * index, 1)[:, :320, None], 3, 2).copy()
        image[place] = (15, 20, 230)
        images.append(image)
    return images, places


def walk(path: Path, *, pan: int = 0) -> list[tuple[slice, slice]]:
    """Write a video of it."""
    images, places = walking(pan=pan)
    record(path, images, Recording(encoder="ffv1", options={}))
    return places


def mask(source: Path, output: Path, policy: Policy = POLICY) -> None:
    mask_video(source, output, find_faces=NoFaces(), policy=policy, options=LOSSLESS)  # type: ignore[arg-type]


def test_who_has_no_face_is_masked_from_the_first_frame_on_and_the_rest_stays(
    tmp_path: Path,
) -> None:
    source, output = tmp_path / "walk.mkv", tmp_path / "out.mkv"
    places = walk(source)
    mask(source, output)
    before, after = luma(source), luma(output)
    assert len(after) == FRAMES
    for old, new, place in zip(before, after, places, strict=True):
        assert (new[place] == 16).all()
        assert (old == new).mean() > 0.75
    mask(source, tmp_path / "faces.mkv", dataclasses.replace(POLICY, moving=MovingOptions()))
    assert (luma(tmp_path / "faces.mkv")[0] == before[0]).all()


def test_a_view_that_moves_is_masked_wholly_and_said_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, output = tmp_path / "pan.mkv", tmp_path / "out.mkv"
    walk(source, pan=9)
    with caplog.at_level(logging.WARNING):
        mask(source, output)
    assert all((frame == 16).all() for frame in luma(output))
    assert "24 of 24 frames are masked wholly" in caplog.text


def test_a_file_of_which_nothing_was_learnt_is_masked_wholly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "walk.mkv", tmp_path / "out.mkv"
    walk(source)
    monkeypatch.setattr("faceblur.batch.fixed_view.background_of", lambda *_: None)
    mask(source, output)
    assert all((frame == 16).all() for frame in luma(output))


@pytest.mark.parametrize("calls", [1, FRAMES + FRAMES // 2])
def test_a_run_that_is_stopped_in_either_pass_leaves_nothing(tmp_path: Path, calls: int) -> None:
    source, output = tmp_path / "walk.mkv", tmp_path / "out.mkv"
    walk(source)
    told: list[Progress] = []

    def stop(progress: Progress) -> None:
        told.append(progress)
        if len(told) == calls:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mask_video(
            source,
            output,
            find_faces=NoFaces(),  # type: ignore[arg-type]
            policy=POLICY,
            on_progress=stop,
            options=LOSSLESS,
        )
    assert (told[-1].done > 0) == (calls > FRAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mkv"]


@pytest.mark.parametrize(
    ("stored", "matrix"),
    [(np.rot90, (0, 1, -1, 0)), (np.fliplr, (-1, 0, 0, 1))],
    ids=["turned", "mirrored"],
)
def test_a_video_stored_otherwise_is_masked_where_its_viewers_see_somebody(
    tmp_path: Path,
    stored: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
    matrix: tuple[int, int, int, int],
) -> None:
    source, output = tmp_path / "phone.mp4", tmp_path / "out.mkv"
    images, places = walking()
    how = Recording(options={"preset": "ultrafast", "qp": "0"})
    record(source, [np.ascontiguousarray(stored(image)) for image in images], how)
    set_display_matrix(source, matrix)
    mask(source, output)
    for before, after, place in zip(images, luma(output), places, strict=True):
        assert after.shape == before.shape[:2]
        assert (after[place] == 16).all()
        aside = np.abs(after - (16 + before[:, :, 0].astype(np.float64) * 219 / 255)) < 8
        assert aside.mean() > 0.75


def test_who_comes_in_is_masked_from_their_first_sliver_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = tmp_path / "enter.mkv", tmp_path / "out.mkv"
    (empty, *_), _ = walking(width=0)
    entering = [empty.copy() for _ in range(FRAMES)]
    for index in range(19, FRAMES):
        wide, high = 1 + 6 * (index - 19), 10 * (index - 18)
        entering[index][60 : 60 + high, :wide] = (15, 20, 230)
    record(source, entering, Recording(encoder="ffv1", options={}))
    mask(source, output)
    sliver = (slice(60, 70), slice(0, 1))
    assert all((after[sliver] == 16).all() for after in luma(output)[19:])
    monkeypatch.setattr("faceblur.batch.fixed_view.cover_coming", lambda *_: None)
    mask(source, tmp_path / "late.mkv")
    assert not (luma(tmp_path / "late.mkv")[19][sliver] == 16).any()


def test_deep_and_grey_videos_have_a_background_too(tmp_path: Path) -> None:
    source = tmp_path / "deep.mkv"
    rng = np.random.default_rng(5)
    images = [rng.integers(60, 70, (90, 160, 3)).astype(np.uint8) for _ in range(12)]
    for pixel_format in ("yuv420p10le", "gray"):
        record(source, images, Recording(encoder="ffv1", options={}, pixel_format=pixel_format))
        view = FixedView.learn(source, POLICY.moving, lambda: None)
        assert view._moving.known_share > 0.95
        assert len(decoded(source)) == 12
