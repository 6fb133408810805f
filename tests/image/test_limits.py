"""Images, disks and formats that hold no more: refused or told, and nothing is left."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from image_files import ALL_SUFFIXES, copy, encoded, frames, photo, pixels_of
from PIL import Image

from faceblur.errors import InputError, OutputError, install_line
from faceblur.image.decoding import MAX_PIXELS
from faceblur.image.io import Page, read_image, write_image
from faceblur.image.jpeg import jpeg

# Pillow warns before it raises, and of tags that are damaged.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def png_of(width: int, height: int, rows: Iterable[bytes]) -> bytes:
    """A 1-bit grey PNG."""

    def chunk(name: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(rows), 1)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_image_of_hundreds_of_megapixels_is_legitimate(tmp_path: Path) -> None:
    side = 13500  # More than twice what Pillow takes for an attack.
    path = tmp_path / "panorama.png"
    path.write_bytes(png_of(side, side, [bytes(1 + -(-side // 8))] * side))
    limit = Image.MAX_IMAGE_PIXELS
    assert pixels_of(path).shape == (side, side)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_image_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(60000, 60000, [b"never decoded"]))
    with pytest.raises(InputError, match=f"more than {MAX_PIXELS // 10**6} million"):
        read_image(path)


def test_a_heic_without_its_reader_names_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    pillow_heif.from_pillow(Image.fromarray(photo())).save(path)
    script = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from pathlib import Path\n"
        "from faceblur.image.io import read_image\n"
        "from faceblur.errors import InputError\n"
        "try:\n    read_image(Path(sys.argv[1]))\n"
        "except InputError as error:\n    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60
    )
    assert install_line("heic") in told.stdout, told.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("out.xyz", r"cannot write \.xyz images: .*\.jpg \.png \.webp \.tif"),
        ("out", "an image without a suffix"),
        ("in.gif", "is the source itself"),
        ("link.gif", "is the source itself"),
        ("out.jpg", r"has 4 pages and \.jpg holds one: use one of \.png \.webp \.tif \.gif"),
    ],
)
def test_a_result_that_cannot_be_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    first, *rest = frames()
    first.save(tmp_path / "in.gif", save_all=True, append_images=rest)
    (tmp_path / "link.gif").symlink_to(tmp_path / "in.gif")
    before = (tmp_path / "in.gif").read_bytes()
    with pytest.raises(InputError, match=reason):
        copy(tmp_path / "in.gif", tmp_path / name)
    assert (tmp_path / "in.gif").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.gif", "link.gif"]


def test_a_image_too_large_for_a_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    Image.new("L", (17000, 2)).save(path)
    with pytest.raises(OutputError, match=r"cannot write .*out\.webp: "):
        copy(path, tmp_path / "out.webp")
    assert [path.name for path in tmp_path.iterdir()] == ["long.png"]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_a_page_that_fails_leaves_nothing_behind(tmp_path: Path, suffix: str) -> None:
    source = encoded(tmp_path / f"in{suffix}")
    image = read_image(source)

    def unchecked() -> Iterator[Page]:
        yield next(image.pages)
        raise InputError("the server is gone")

    with pytest.raises(InputError, match="the server is gone"):
        write_image(tmp_path / f"out{suffix}", replace(image, pages=unchecked()))
    assert [path.name for path in tmp_path.iterdir()] == [f"in{suffix}"]


def test_an_output_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"folder .*nowhere does not exist"):
        copy(encoded(tmp_path / "in.png"), tmp_path / "nowhere" / "out.png")


_INTO_TROUBLE = """
import resource, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from faceblur.errors import OutputError
from faceblur.image.io import Page, read_image, write_image

folder, suffixes = Path(sys.argv[1]), sys.argv[2:]
image = read_image(folder / "in.png")
noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
deep = noise.astype(np.uint16) * 257

def interrupted(*_):
    raise KeyboardInterrupt

def pages(pixels):
    signal.setitimer(signal.ITIMER_REAL, after_s)
    yield Page(pixels)

signal.signal(signal.SIGALRM, interrupted)
for after_s in (0, 0.002):
    if after_s == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    for suffix in suffixes:
        for pixels in (noise, deep):
            out = folder / f"out{suffix}"
            try:
                write_image(out, replace(image, pages=pages(pixels)))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except (OutputError, KeyboardInterrupt) as error:
                print(suffix, type(error).__name__, error, flush=True)
            if out.exists():
                assert after_s, "the disk was full"
                read_image(out)
                out.unlink()
            assert [path.name for path in folder.iterdir()] == ["in.png"], suffix
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits and timers are those of Unix")
def test_no_encoder_hangs_or_leaves_anything_on_a_full_disk_or_interrupted(tmp_path: Path) -> None:
    encoded(tmp_path / "in.png")
    line = [sys.executable, "-c", _INTO_TROUBLE, str(tmp_path), *ALL_SUFFIXES]
    told = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    full = re.findall(r"^(\S+) OutputError cannot write .*: the file would grow", told.stdout, re.M)
    assert full == [suffix for suffix in ALL_SUFFIXES for _ in range(2)]
    assert told.stdout.count("KeyboardInterrupt") > len(ALL_SUFFIXES)


def test_a_view_that_no_jpeg_can_hold_gets_one_sentence() -> None:
    assert jpeg(np.zeros((2, 3, 3), np.uint8), quality=80).startswith(b"\xff\xd8")
    for shape in ((0, 0, 3), (2, 65_501, 3)):
        with pytest.raises(OutputError, match="cannot be encoded as JPEG"):
            jpeg(np.zeros(shape, np.uint8), quality=80)
