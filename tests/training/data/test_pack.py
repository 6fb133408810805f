"""A pack gives back what went in, and says clearly what cannot go in."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from faceblur.errors import InputError, OutputError
from faceblur_export.data.formats import read_folder
from faceblur_export.data.image_files import open_image
from faceblur_training.data import pack as packing
from faceblur_training.data.pack import Pack, write
from faceblur_training.data.shards import open_shards, write_shards


def test_pixels_and_faces_come_back(labelled_folder: Path, tmp_path: Path) -> None:
    images = read_folder(labelled_folder)
    made = write(tmp_path / "pack", images, root=labelled_folder)
    assert len(made) == len(images)
    for number, item in enumerate(images):
        np.testing.assert_array_equal(made.image(number), open_image(item.path))
        entry = made.entry(number)
        assert entry.name == item.path.relative_to(labelled_folder).as_posix()
        assert entry.labelled
        np.testing.assert_allclose(entry.faces[:, :4], item.boxes)
        assert (entry.faces[:, 4] == 1).all()


def test_large_images_shrink_with_their_faces(labelled_folder: Path, tmp_path: Path) -> None:
    images = read_folder(labelled_folder)
    made = write(tmp_path / "pack", images, root=labelled_folder, side=64)
    assert made.image(0).shape == (64, 64, 3)
    np.testing.assert_allclose(made.entry(0).faces[:, :4], images[0].boxes / 2)


@pytest.mark.parametrize("channels", ["grey", "colour", "alpha", "16 bit"])
def test_channels_become_rgb(tmp_path: Path, channels: str) -> None:
    blue = np.full((8, 8, 3), (200, 10, 20), np.uint8)
    image = {
        "grey": blue[..., 0],
        "colour": blue,
        "alpha": np.dstack([blue, np.full((8, 8), 255, np.uint8)]),
        "16 bit": blue.astype(np.uint16) * 256,
    }[channels]
    cv2.imwrite(str(tmp_path / "x.png"), image)
    expected = (200, 200, 200) if channels == "grey" else (20, 10, 200)
    opened = open_image(tmp_path / "x.png")
    assert opened.dtype == np.uint8
    assert tuple(opened[0, 0]) == expected


def test_other_channels_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "x.tiff"), np.zeros((8, 8), np.float32))
    with pytest.raises(InputError, match="1 channels of float32"):
        open_image(tmp_path / "x.tiff")


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_broken_images_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.png is not an image"):
        open_image(tmp_path / "x.png")
    with pytest.raises(InputError, match=r"gone\.png cannot be read"):
        open_image(tmp_path / "gone.png")


def test_a_folder_that_is_no_pack_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a prepared data set"):
        Pack(tmp_path)


def test_a_pack_that_was_cut_short_is_named(labelled_folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "pack", read_folder(labelled_folder), root=labelled_folder)
    pixels = tmp_path / "pack" / "pixels.bin"
    pixels.write_bytes(pixels.read_bytes()[:-100])
    with pytest.raises(InputError, match="is incomplete"):
        Pack(tmp_path / "pack")


def test_a_full_disk_leaves_the_old_pack(
    labelled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = read_folder(labelled_folder)
    write(tmp_path / "pack", images, root=labelled_folder)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing.os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write(tmp_path / "pack", images[:3], root=labelled_folder)
    assert len(Pack(tmp_path / "pack")) == len(images)


def test_a_disk_that_fills_up_at_the_index_leaves_the_old_pack(
    labelled_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = read_folder(labelled_folder)
    write(tmp_path / "pack", images, root=labelled_folder)

    def full(path: Path, **_arrays: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing.np, "savez", full)
    with pytest.raises(OutputError, match="the disk is full"):
        write(tmp_path / "pack", images[:3], root=labelled_folder)
    assert len(Pack(tmp_path / "pack")) == len(images)
    assert {p.name for p in (tmp_path / "pack").iterdir()} == {"pixels.bin", "index.npz"}


def test_a_folder_that_cannot_be_made_is_named(labelled_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = write(tmp_path / "pack", read_folder(labelled_folder), root=labelled_folder)
    for attempt in (
        lambda: write(tmp_path / "file" / "x", read_folder(labelled_folder), root=labelled_folder),
        lambda: write_shards(made, tmp_path / "file" / "x"),
    ):
        with pytest.raises(OutputError, match="cannot make the folder"):
            attempt()


def test_a_broken_image_leaves_nothing_behind(labelled_folder: Path, tmp_path: Path) -> None:
    images = read_folder(labelled_folder)
    images[4].path.write_bytes(b"broken")
    with pytest.raises(InputError, match="is not an image"):
        write(tmp_path / "pack", images, root=labelled_folder)
    assert not list((tmp_path / "pack").iterdir())


def test_images_may_lie_beside_their_labels(labelled_folder: Path, tmp_path: Path) -> None:
    made = write(tmp_path / "pack", read_folder(labelled_folder), root=tmp_path / "elsewhere")
    assert made.entry(0).name == "../faces/images/00.png"


def test_images_are_turned_upright(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6  # turned by a quarter: what a phone writes that was held upright
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=tag, quality=95)
    opened = open_image(tmp_path / "x.jpg")
    assert opened.shape == (32, 16, 3)
    assert opened[2].min() > 200
    assert opened[-2].max() < 50


def test_a_bundle_carries_images_and_faces(labelled_folder: Path, tmp_path: Path) -> None:
    made = write(tmp_path / "pack", read_folder(labelled_folder), root=labelled_folder)
    parts = write_shards(made, tmp_path / "parts", side=96, quality=95, part_bytes=20_000)
    assert len(parts) > 1
    assert all(part.stat().st_size <= 20_000 for part in parts)
    assert parts[0].stat().st_size > 14_000
    opened = open_shards(tmp_path / "parts", tmp_path / "there")
    assert [e.name for e in opened.entries()] == [e.name for e in made.entries()]
    for number, entry in enumerate(made.entries()):
        there = opened.entry(number)
        np.testing.assert_allclose(there.faces[:, :4], entry.faces[:, :4] * 0.75, rtol=1e-5)
        assert (there.faces[:, 4] == 1).all()
        small = cv2.resize(made.image(number), (96, 96), interpolation=cv2.INTER_AREA)
        assert np.abs(opened.image(number).astype(int) - small).mean() < 6


def test_a_broken_part_is_named(labelled_folder: Path, tmp_path: Path) -> None:
    made = write(tmp_path / "pack", read_folder(labelled_folder), root=labelled_folder)
    (part,) = write_shards(made, tmp_path / "parts")
    part.write_bytes(part.read_bytes()[:-5000])
    with pytest.raises(InputError, match=r"part-0\.npz is broken"):
        open_shards(tmp_path / "parts", tmp_path / "there")
