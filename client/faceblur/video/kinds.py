"""What a file is, by its content: an image, a video, or one of those that nothing here reads."""

from __future__ import annotations

import mimetypes
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import av
from av.stream import Disposition

from faceblur.errors import InputError
from faceblur.files import check_ordinary
from faceblur.image.decoding import naming_errors, open_image
from faceblur.image.formats import BY_NAME, BY_SUFFIX, RAW_SUFFIXES, readable_suffixes
from faceblur.video.containers import CONTAINERS

Kind = Literal["image", "video"]

VIDEO_SUFFIXES: Final = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv"}
)

_HEAD_BYTES: Final = 64
_IMAGES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"8BPS")
_VIDEOS: Final = (
    b"\x1aE\xdf\xa3",
    b"FLV\x01",
    b"0&\xb2u\x8ef\xcf\x11",
    b"\0\0\1\xba",
    b"DHAV",
    b"YUV4MPEG2 ",
)
_UNREADABLE: Final = (b"\xff\x0a", b"\0\0\0\x0cJXL ", b"FUJIFILMCCD-RAW")
_IMAGE_BRANDS: Final = (b"hei", b"hev", b"mif", b"msf", b"avi", b"crx")
_AUDIO: Final = (".m4a", ".m4b", ".mka", ".ogg", ".oga", ".opus", ".weba", ".wma")
SOURCE_CODE: Final = (".ts", ".mts")
"""Suffixes that programs have too."""

_THUMBNAIL: Final = Disposition.attached_pic | Disposition.timed_thumbnails

_CERTAIN: Final = frozenset(
    {"AVIF", "BMP", "GIF", "HEIF", "ICNS", "JPEG", "JPEG2000", "MPO", "PNG", "PSD", "QOI", "TIFF"}
    | {"WEBP"}
)
"""Pillow's names of formats whose first bytes are not those of other files by accident."""

_OTHER_MEDIA: Final = RAW_SUFFIXES | {
    *(".264", ".265", ".3g2", ".amv", ".av1", ".braw", ".crm", ".dav", ".divx", ".dv", ".evo"),
    *(".exr", ".f4v", ".flif", ".gifv", ".h264", ".h265", ".hevc", ".insp", ".insv", ".ivf"),
    *(".jxl", ".jxr", ".lrv", ".m1v", ".m2v", ".mjpeg", ".mjpg", ".mod", ".mpo", ".mpv", ".nut"),
    *(".ogm", ".pam", ".pict", ".pnt", ".r3d", ".rm", ".rmvb", ".svg", ".svgz", ".thm", ".tod"),
    *(".vob", ".wdp", ".wtv", ".xcf", ".y4m", ".yuv"),
}
"""Suffixes of images and videos that the table of media types of Python does not have."""

_VIDEO_NAMES: Final = {
    "matroska,webm": ".mkv",
    "mpegts": ".ts",
    "mpeg": ".mpg",
    "avi": ".avi",
    "asf": ".wmv",
    "flv": ".flv",
}


def kind_of(path: Path) -> Kind:
    """Whether to read a file as an image or as a video: by its content, else by its suffix.

    Raises:
        InputError: It is a pipe or a device.
    """
    check_ordinary(path)
    return _kind_by_head(path) or _probe(path) or "image"


def found_kind(path: Path) -> Kind | Literal["unreadable"] | None:
    """What a file in a folder is; None where it is neither an image nor a video."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return "unreadable" if suffix in readable_suffixes() | VIDEO_SUFFIXES else None
    if suffix in RAW_SUFFIXES or _head(path).startswith(_UNREADABLE):
        return "unreadable"
    if suffix in SOURCE_CODE and _is_text(_head(path)):
        return None
    guess = mimetypes.guess_type(path.name)[0] or ""
    if guess.startswith("audio/") or suffix in _AUDIO:
        # Containers of audio begin like those of videos.
        return "video" if _video_format(path) else None
    kind = _kind_by_head(path) or _probe(path)
    if kind is not None:
        return kind
    media = suffix in _OTHER_MEDIA or guess.startswith(("image/", "video/"))
    return "unreadable" if media else None


def result_name(path: Path, kind: Kind) -> str:
    """The name of a file's result: its own, with a suffix that can be written where that cannot."""
    if path.suffix.lower() in (BY_SUFFIX if kind == "image" else CONTAINERS):
        return path.name
    return path.name + (_image_suffix(path) if kind == "image" else _video_suffix(path))


def _kind_by_head(path: Path) -> Kind | None:
    head, suffix = _head(path), path.suffix.lower()
    if head[4:8] == b"ftyp":
        return "image" if head[8:11] in _IMAGE_BRANDS else "video"
    if head.startswith(_IMAGES) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return "image"
    if head.startswith(_VIDEOS) or (head[:4], head[8:11]) == (b"RIFF", b"AVI"):
        return "video"
    if suffix in VIDEO_SUFFIXES:
        return "video"
    return "image" if suffix in readable_suffixes() else None


def _probe(path: Path) -> Kind | None:
    """What the libraries say of a file that neither its first bytes nor its suffix tell."""
    head = _head(path)
    if not head or _is_text(head):
        return None
    with suppress(InputError), naming_errors(path), open_image(path) as image:
        if image is not None and image.format in _CERTAIN:
            return "image"
    return "video" if _video_format(path) else None


def _video_format(path: Path) -> str:
    """FFmpeg's name of a video's format; empty for all else."""
    with (
        suppress(av.error.FFmpegError, EOFError, ValueError),
        av.open(
            str(path.absolute()),
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        ) as container,
    ):
        for stream in container.streams.video:
            context = stream.codec_context
            moving = not stream.disposition & _THUMBNAIL
            if moving and context is not None and context.width and context.height:
                return str(container.format.name)
    return ""


def _image_suffix(path: Path) -> str:
    with suppress(InputError), naming_errors(path), open_image(path) as image:
        if image is None:
            return ".tif"
        name = "JPEG" if image.format == "MPO" else image.format
        if name in BY_NAME:
            return BY_NAME[name].suffixes[0]
    return ".png"


def _video_suffix(path: Path) -> str:
    return _VIDEO_NAMES.get(_video_format(path), ".mp4")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""  # Whoever reads it says so.


def _is_text(head: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in head)
