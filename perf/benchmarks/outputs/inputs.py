"""The inputs: one portrait, in every format and mode, and clips in which it moves."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

WIDTH: Final = 320
HEIGHT: Final = 240
FRAMES: Final = 12
FPS: Final = 12
EXACT: Final = ("-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact")
H264: Final = ("-c:v", "libx264", "-threads", "1", "-crf", "18", "-pix_fmt", "yuv420p")


def make_inputs(folder: Path, portrait: Path) -> None:
    """Write every input into a folder.

    Args:
        folder: Where to; it is made.
        portrait: An image of 512 × 512 pixels with one face.

    Raises:
        OSError: There is no ffmpeg program.
        subprocess.CalledProcessError: It cannot write one of the clips.
    """
    folder.mkdir(parents=True)
    with Image.open(portrait) as opened:
        image = opened.convert("RGB")
    _images(folder, image)
    _clips(folder, np.asarray(image))
    _others(folder)


def _images(folder: Path, image: Image.Image) -> None:
    small = image.resize((256, 256), Image.Resampling.LANCZOS)
    faded = image.copy()
    faded.putalpha(Image.linear_gradient("L").resize(image.size))
    exif = Image.Exif()
    exif[0x010E] = "a title"
    exif[0x0112] = 6
    image.rotate(90).save(folder / "turned.jpg", quality=95, exif=exif)
    image.save(folder / "plain.jpg", quality=95, subsampling=0)
    image.save(folder / "progressive.jpg", quality=80, progressive=True, dpi=(300, 300))
    image.convert("L").save(folder / "grey.jpg", quality=90)
    image.convert("CMYK").save(folder / "cmyk.jpg", quality=90)
    image.save(folder / "plain.png")
    faded.save(folder / "alpha.png")
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    image.convert("LA").save(folder / "grey_alpha.png")
    image.convert("1").save(folder / "bits.png")
    deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    cv2.imwrite(
        str(folder / "deep_colour.png"), np.asarray(image)[..., ::-1].astype(np.uint16) * 257
    )
    small.save(folder / "plain.bmp")
    small.save(folder / "plain.ppm")
    small.save(folder / "plain.jp2", irreversible=False)
    small.save(folder / "plain.webp", lossless=True)
    faded.resize((256, 256)).save(folder / "alpha.webp", lossless=True)
    small.save(folder / "plain.avif", quality=90)
    image.save(folder / "plain.tiff", compression="tiff_lzw")
    pages = [image, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image.convert("L")]
    image.save(folder / "pages.tiff", save_all=True, append_images=pages[1:])
    moved = [
        small.transform(small.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, 0)) for x in (0, 9)
    ]
    moved[0].save(folder / "moving.gif", save_all=True, append_images=moved[1:], duration=80)
    moved[0].save(folder / "moving.webp", save_all=True, append_images=moved[1:], lossless=True)
    moved[0].save(folder / "moving.png", save_all=True, append_images=moved[1:], duration=80)
    Image.new("RGB", (64, 48), (90, 120, 60)).save(folder / "empty_field.png")
    wide = Image.new("RGB", (2304, 1536), (80, 90, 100))
    wide.paste(image.resize((160, 160)), (1900, 1200))
    wide.save(folder / "large.jpg", quality=90)
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.from_pillow(small).save(folder / "plain.heic", quality=90)


def _frames(portrait: Pixels) -> Iterator[Pixels]:
    face = cv2.resize(portrait, (200, 200), interpolation=cv2.INTER_AREA)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    field = np.stack([columns % 200, rows % 200, (columns + rows) % 200], axis=-1).astype(np.uint8)
    for number in range(FRAMES):
        frame = field.copy()
        frame[20:220, 8 * number : 8 * number + 200] = face
        yield frame


def _clips(folder: Path, portrait: Pixels) -> None:
    raw = b"".join(frame.tobytes() for frame in _frames(portrait))
    words = folder / "words.srt"
    words.write_text("1\n00:00:00,100 --> 00:00:00,900\nGood morning, how are you?\n")
    sound = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=1")

    def write(name: str, *options: str, more: tuple[str, ...] = ()) -> None:
        given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS))
        command = ["ffmpeg", "-v", "error", "-y", *given, "-i", "-", *more, *options, *EXACT]
        subprocess.run([*command, str(folder / name)], input=raw, check=True)

    aac = ("-c:a", "aac", "-b:a", "64k")
    write("plain.mp4", *H264, *aac, "-metadata", "title=a title", more=sound)
    write(
        "tracks.mkv", "-map", "0:v", "-map", "1:a", "-map", "1:a", "-map", "2:s", *H264,
        "-c:a:0", "libmp3lame", "-c:a:1", "flac", "-c:s", "srt", "-metadata:s:a:1", "language=deu",
        more=(*sound, "-i", str(words)),
    )  # fmt: skip
    alone = "log-level=none:pools=1:frame-threads=1"
    write("ten_bits.mp4", "-c:v", "libx265", "-x265-params", alone, "-pix_fmt", "yuv420p10le")
    write("alpha.webm", "-vf", "format=yuva420p", "-c:v", "libvpx-vp9", "-threads", "1",
          "-deadline", "realtime", "-cpu-used", "8")  # fmt: skip
    write("dense.mov", "-c:v", "prores_ks", "-profile:v", "3", "-pix_fmt", "yuv422p10le")
    write("old.avi", "-c:v", "mpeg4", "-q:v", "3", "-c:a", "pcm_s16le", more=sound)
    write("stream.ts", *H264, *aac, more=sound)
    write("uneven.mkv", "-vf", "setpts='PTS+mod(N,3)*0.01/TB'", "-fps_mode", "vfr", *H264)
    write("odd.mkv", "-vf", "crop=319:239", "-c:v", "ffv1")
    write("fields.mp4", *H264, "-x264opts", "tff=1")
    _turn(folder / "plain.mp4", folder / "turned.mp4")
    whole = (folder / "plain.mp4").read_bytes()
    (folder / "cut_off.mp4").write_bytes(whole[: len(whole) * 2 // 3])


def _turn(source: Path, target: Path) -> None:
    """A copy that players turn by a quarter, by the matrix of its first track."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    quarter = [0, 1 << 16, 0, -(1 << 16), 0, 0, HEIGHT << 16, 0, 1 << 30]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in quarter)
    target.write_bytes(bytes(data))


def _others(folder: Path) -> None:
    whole = (folder / "plain.jpg").read_bytes()
    (folder / "cut_off.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "no_end.jpg").write_bytes(whole[:-2])
    (folder / "text.jpg").write_text("this is no picture\n")
    (folder / "nothing.jpg").write_bytes(b"")
    (folder / "letter.docx").write_bytes(b"PK\x03\x04")
    shutil.copy(folder / "plain.png", folder / "png_inside.jpg")
    _boxes(folder)
    (folder / "good.yaml").write_text(
        "defaults:\n  fps: 5\ncameras:\n  door:\n    source: rtsp://user:secret@127.0.0.1:1/x\n"
        "    sinks: [rtsp://127.0.0.1:2/door]\n    mask: {mode: solid}\n"
    )
    (folder / "wrong.yaml").write_text(
        "cameras:\n  door:\n    source: gopher://x\n    treshold: 0.3\n    fps: many\n"
        "  yard:\n    source: rtsp://127.0.0.1:1/${NO_SUCH_SETTING}\n    sinks: [smoke:signal]\n"
    )


def _boxes(folder: Path) -> None:
    """Lists of faces as somebody writes them by hand, without what may be left out."""
    face: Callable[..., dict[str, object]] = lambda *box: {"box": list(box)}  # noqa: E731
    for name, size, frames in (
        ("boxes.json", (512, 512), [[face(180, 60, 270, 182), face(20, 300, 120, 420)]]),
        ("boxes_wrong_size.json", (100, 100), [[face(10, 10, 20, 20)]]),
        ("boxes_no_frames.json", (512, 512), []),
    ):
        listed = [{"index": n, "pts_s": 0.0, "faces": faces} for n, faces in enumerate(frames)]
        media = {"path": "plain.jpg", "width": size[0], "height": size[1], "frames": listed}
        (folder / name).write_text(json.dumps({"version": 1, "media": [media]}))
