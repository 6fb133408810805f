"""What a folder holds is told by content; no image is skipped silently."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from media import moving_face_video
from PIL import Image
from skimage import data

from faceblur.batch.jobs import plan, survey
from faceblur.batch.search import search
from faceblur.errors import InputError
from faceblur.image.io import read_image
from faceblur.video.kinds import kind_of

IMAGE = Image.fromarray(np.ascontiguousarray(data.astronaut()[:64, :96]))


def video(path: Path) -> None:
    moving_face_video(path.with_name("clip.mp4"), frames=3, width=64, height=48)
    path.with_name("clip.mp4").rename(path)


def raw(path: Path) -> None:
    """What Pillow opens of a DNG: a small preview."""
    IMAGE.save(path.with_name("preview.tif"), tiffinfo={50706: b"\1\4\0\0"})
    path.with_name("preview.tif").rename(path)


def nikon(path: Path) -> None:
    """The first directory holds a reduced copy, and points to others."""
    IMAGE.save(path, "TIFF", tiffinfo={254: 1, 330: 8})


def stereo(path: Path) -> None:
    IMAGE.save(path, "MPO", save_all=True, append_images=[IMAGE])


MAKERS: dict[str, Callable[[Path], object]] = {
    "a.jpg": lambda path: IMAGE.save(path),
    "stereo.mpo": stereo,
    "no suffix": lambda path: IMAGE.save(path, "PNG"),
    "cache.dat": lambda path: IMAGE.save(path, "JPEG"),
    "phone.3g2": video,
    "action.insv": video,
    "wrong.jpg": video,
    "film.mp4": lambda path: IMAGE.save(path, "GIF", save_all=True, append_images=[IMAGE]),
    "raw.dng": raw,
    "canon.cr2": lambda path: path.write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(99)),
    "new.jxl": lambda path: path.write_bytes(b"\xff\x0a" + bytes(99)),
    "renamed": lambda path: path.write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99)),
    "drawing.svg": lambda path: path.write_text("<svg/>"),
    "gone.jpg": lambda path: path.symlink_to("nowhere"),
    "notes.txt": lambda path: path.write_text("é"),
    "a.xmp": lambda path: path.write_text("<x:xmpmeta/>"),
    "a.json": lambda path: path.write_text("{}"),
    "b.srt": lambda path: path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    "data.bin": lambda path: path.write_bytes(np.random.default_rng(0).bytes(3000)),
    "empty": lambda path: path.touch(),
    "song.m4a": lambda path: path.write_bytes(b"\0\0\0\x18ftypM4A " + bytes(99)),
    "program.ts": lambda path: path.write_text("export const a = 1;\n"),
    ".hidden.jpg": lambda path: IMAGE.save(path),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    for name, make in MAKERS.items():
        make(root / name)
    return root


def test_a_folder_is_told_apart_by_content(folder: Path) -> None:
    found = search(folder)
    assert {path.name: kind for path, kind in found.media.items()} == {
        "a.jpg": "image",
        "stereo.mpo": "image",
        "no suffix": "image",
        "cache.dat": "image",
        "phone.3g2": "video",
        "action.insv": "video",
        "wrong.jpg": "video",
        "film.mp4": "image",
    }
    left = ["canon.cr2", "drawing.svg", "gone.jpg", "new.jxl", "raw.dng", "renamed"]
    assert [path.name for path in found.unchecked] == left
    assert found.others == 9


def test_results_get_names_that_can_be_written(folder: Path) -> None:
    found = survey([str(folder)], None)
    assert (len(found.unchecked), found.others) == (6, 9)
    assert {job.source.name: job.output.name for job in found.jobs} == {
        "a.jpg": "a.jpg",
        "stereo.mpo": "stereo.mpo.jpg",
        "no suffix": "no suffix.png",
        "cache.dat": "cache.dat.jpg",
        "phone.3g2": "phone.3g2.mp4",
        "action.insv": "action.insv.mp4",
        "wrong.jpg": "wrong.jpg.mp4",
        "film.mp4": "film.mp4.gif",
    }
    (job,) = plan([str(folder / "stereo.mpo")], None)
    assert job.output.name == "stereo.mpo_blurred.jpg"
    job.output.write_bytes((folder / "a.jpg").read_bytes())
    assert {job.source.name for job in plan([f"{folder}/s*"], None)} == {"stereo.mpo"}


def test_a_pattern_leaves_nothing_out_silently_either(folder: Path) -> None:
    (folder / "sub").mkdir()
    found = survey([f"{folder}/*"], None)
    assert len(found.jobs) == 8
    assert "sub" in [path.name for path in found.unchecked]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    root, outside = tmp_path / "x" / "in", tmp_path / "outside"
    for path in (root / "sub" / "a.jpg", outside / "b.jpg"):
        path.parent.mkdir(parents=True)
        IMAGE.save(path)
    (root / "link").symlink_to(outside)
    (root / "twice").symlink_to(outside)
    (root / "inside").symlink_to(root / "sub")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (outside / "back").symlink_to(root)
    found = search(root)
    assert [path.relative_to(root).as_posix() for path in found.media] == [
        "link/b.jpg",
        "sub/a.jpg",
    ]
    assert [path.name for path in found.unchecked] == ["up"]


def test_a_folder_of_nothing_but_raw_files_names_them(tmp_path: Path) -> None:
    raw(tmp_path / "a.dng")
    with pytest.raises(InputError, match=r"no images or videos .*not checked: \S*a\.dng; give"):
        plan([str(tmp_path)], None)


@pytest.mark.parametrize("make", [raw, nikon])
def test_a_raw_file_is_never_taken_for_its_preview(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "renamed.tif")
    (tmp_path / "a.cr3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(99))
    for name in ("renamed.tif", "a.cr3"):
        with pytest.raises(InputError, match="a raw file of a camera"):
            read_image(tmp_path / name)


def test_the_images_beside_the_main_one_are_mentioned(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stereo(tmp_path / "two.mpo")
    assert read_image(tmp_path / "two.mpo").page_count == 1
    assert "two.mpo holds 2 images: all but the main one are left out" in caplog.text


def test_a_broken_file_keeps_the_kind_of_its_suffix(tmp_path: Path) -> None:
    for name, kind in (("a.jpg", "image"), ("a.mp4", "video"), ("a.xyz", "image")):
        (tmp_path / name).write_bytes(os.urandom(16) + bytes(range(200)))
        assert kind_of(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("inputs", "output", "reason"),
    [
        (["-"], None, "standard input and output cannot be used"),
        (["a.jpg"], "-", "standard input and output cannot be used"),
        (["http://h/a.jpg"], None, "an address, not a file: download it"),
        (["rtsp://h/a"], None, "faceblur camera"),
        (["file:///tmp/a%20b.jpg"], None, "give the path itself, /tmp/a b.jpg"),
        (["a.jpg"], "s3://bucket/a.jpg", "an address, not a file: write to a file"),
        (["film.gif"], "film.mp4", r"is an image, and \.mp4 holds videos: .*ffmpeg -i"),
        (["clip.avi"], "clip.gif", r"is a video, and \.gif holds images: .*ffmpeg -i"),
    ],
)
def test_what_names_no_file_is_told_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[str],
    output: str | None,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    IMAGE.save("a.jpg")
    IMAGE.save("film.gif", save_all=True, append_images=[IMAGE])
    Path("clip.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    with pytest.raises(InputError, match=reason):
        plan(inputs, None if output is None else Path(output))


def test_a_single_file_goes_into_a_folder_that_is_made(tmp_path: Path) -> None:
    IMAGE.save(tmp_path / "a.jpg")
    found = survey([str(tmp_path / "a.jpg")], tmp_path / "new", into_folder=True)
    assert [job.output for job in found.jobs] == [tmp_path / "new" / "a.jpg"]
