"""The containers a video can be written to, and the pixel formats an encoder can be given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import av

from faceblur.errors import InputError
from faceblur.video.frames import VideoProperties

_H264: Final = ("libx264", "libopenh264", "h264_videotoolbox", "mpeg4")
# More than 8 bits: what phones record and play is HEVC; hardly anything plays such H.264.
_DEEP: Final = ("libx265", "libx264", "libsvtav1")
_VPX: Final = ("libvpx-vp9", "libvpx")


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a kind of file can hold.

    Attributes:
        format: FFmpeg's name of it.
        encoders: For images of 8 bits, in order of preference.
        deep_encoders: For more bits.
        odd_encoder: For images of odd sizes that the preferred one would extend, where it keeps
            their depth; None if players would not expect it.
        alpha_encoders: For images with transparency, where it keeps that.
        audio_encoder: For audio that has to be converted.
        audio_rate: The only one that it takes, samples per second; None if it takes others.
        holds: Codecs of audio and subtitles that it takes, where FFmpeg does not know.
        plain_audio: Players expect uncompressed audio in it.
        edit_lists: Tracks can start before zero, which is where encoders put their run-in.
        fixed_rate: Holds only a number of frames per second, not the time of each.
        clock_starts_anywhere: Its timestamps need not start near zero.
    """

    format: str
    encoders: tuple[str, ...] = _H264
    deep_encoders: tuple[str, ...] = _DEEP
    odd_encoder: str | None = None
    alpha_encoders: tuple[str, ...] = ()
    audio_encoder: str = "aac"
    audio_rate: int | None = None
    holds: frozenset[str] | None = None
    plain_audio: bool = True
    edit_lists: bool = False
    fixed_rate: bool = False
    clock_starts_anywhere: bool = False


# There is a way to put uncompressed audio into MP4, which many players misread.
_MP4: Final = Container(format="mp4", plain_audio=False, edit_lists=True)
_BROADCAST: Final = frozenset(
    ("aac", "aac_latm", "mp1", "mp2", "mp3", "ac3", "eac3", "dts", "truehd", "opus")
)
_TS: Final = Container(
    format="mpegts", holds=_BROADCAST | {"dvb_subtitle", "dvb_teletext"}, clock_starts_anywhere=True
)
_MPEG2: Final = ("mpeg2video",)
_PROGRAM_STREAM: Final = Container(
    format="vob",
    encoders=_MPEG2,
    deep_encoders=_MPEG2,
    audio_encoder="mp2",
    holds=frozenset(("mp1", "mp2", "mp3", "ac3", "dts", "dvd_subtitle")),
)
CONTAINERS: Final[dict[str, Container]] = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": Container(format="mov", alpha_encoders=("prores_ks", "qtrle", "png"), edit_lists=True),
    ".3gp": Container(format="3gp", deep_encoders=("libx264",), edit_lists=True),
    ".mkv": Container(format="matroska", odd_encoder="libvpx-vp9", alpha_encoders=_VPX),
    ".webm": Container(
        format="webm",
        encoders=("libvpx-vp9", "libsvtav1", "libvpx"),
        deep_encoders=("libsvtav1", "libvpx-vp9"),
        alpha_encoders=_VPX,
        audio_encoder="libopus",
        audio_rate=48_000,
    ),
    ".avi": Container(
        format="avi",
        encoders=("mpeg4", "libx264"),
        deep_encoders=("libx264", "mpeg4"),
        audio_encoder="libmp3lame",
        fixed_rate=True,
    ),
    ".ts": _TS,
    ".mts": _TS,
    ".m2ts": _TS,
    # FFmpeg ends the process over other audio that it does have a name for.
    ".flv": Container(format="flv", deep_encoders=("libx264",), holds=frozenset(("aac", "mp3"))),
    ".wmv": Container(
        format="asf", encoders=("wmv2",), deep_encoders=("wmv2",), audio_encoder="wmav2"
    ),
    ".mpg": _PROGRAM_STREAM,
    ".mpeg": _PROGRAM_STREAM,
    ".mxf": Container(
        format="mxf",
        encoders=_MPEG2,
        deep_encoders=_MPEG2,
        audio_encoder="pcm_s16le",
        audio_rate=48_000,
        fixed_rate=True,
    ),
    ".ogv": Container(
        format="ogv",
        encoders=("libvpx",),
        deep_encoders=("libvpx",),
        audio_encoder="flac",
        holds=frozenset(("vorbis", "opus", "flac", "speex")),
        fixed_rate=True,
    ),
}


def container_for(path: Path) -> Container:
    """The container that a file name asks for.

    Raises:
        InputError: No video can be written under this name.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        names = ", ".join(suffix[1:] for suffix in CONTAINERS)
        what = f"of the kind {path.suffix!r}" if path.suffix else "without a suffix"
        raise InputError(f"cannot write a video {what}: name the output .mp4, or one of {names}")
    return container


def bit_depth(name: str) -> int:
    """Bits of one sample of a pixel format."""
    return max((part.bits for part in av.VideoFormat(name, 16, 16).components), default=0)


def subsampling(name: str) -> tuple[int, int]:
    """Columns and rows of pixels to one sample of colour; 1, 1 where there are no such samples."""
    layout = _Layout.of(name)
    return layout.step_x, layout.step_y


def whole_size(pixel_format: str, width: int, height: int) -> tuple[int, int]:
    """The smallest size, at least as large, that has no half chroma samples."""
    pixels = av.VideoFormat(pixel_format, 16, 16)
    step_x = 16 // pixels.chroma_width()
    step_y = 16 // pixels.chroma_height()
    return width + -width % step_x, height + -height % step_y


def closest_format(source: VideoProperties, codec: av.Codec, *, alpha: bool = False) -> str:
    """The pixel format to give an encoder: the source's, or what loses least.

    Transparency is kept only if `alpha` says so.

    RGB and grey become 4:2:0 for encoders that are made for viewing: they do take RGB or grey,
    but few players do. Full and limited range are the same here; frames say which they are.
    """
    offered = [
        f.name
        for f in codec.video_formats or ()
        if _is_software(f.name) and (alpha or not _Layout.of(f.name).alpha)
    ]
    if not offered:
        return source.pixel_format
    lossy = not codec.lossless or codec.lossy
    wanted = replace(_Layout.of(source.pixel_format), alpha=alpha)
    if lossy and (wanted.rgb or wanted.grey):
        wanted = _Layout(depth=wanted.depth, alpha=alpha)
    elif source.pixel_format in offered:
        return source.pixel_format
    return min(offered, key=lambda name: _loss(wanted, name, source.pixel_format))


@dataclass(frozen=True)
class _Layout:
    depth: int
    rgb: bool = False
    grey: bool = False
    step_x: int = 2
    step_y: int = 2
    alpha: bool = False

    @classmethod
    def of(cls, name: str) -> _Layout:
        pixel_format = av.VideoFormat(name, 16, 16)
        parts = pixel_format.components
        # Two components are grey and transparency. PyAV's own flags are wrong about 4:4:4.
        chroma = parts[1:3] if len(parts) > 2 and not pixel_format.is_rgb else ()
        return cls(
            depth=bit_depth(name),
            rgb=pixel_format.is_rgb,
            grey=not chroma and not pixel_format.is_rgb,
            step_x=16 // chroma[0].width if chroma else 1,
            step_y=16 // chroma[0].height if chroma else 1,
            alpha=any(part.is_alpha for part in parts),
        )


def _loss(wanted: _Layout, name: str, source: str) -> tuple[int, ...]:
    """How much a format loses; after that, how much it wastes."""
    offered = _Layout.of(name)
    return (
        wanted.alpha and not offered.alpha,
        offered.grey and not wanted.grey,
        offered.rgb != wanted.rgb,
        max(0, wanted.depth - offered.depth),
        max(0, offered.step_x - wanted.step_x) + max(0, offered.step_y - wanted.step_y),
        offered.depth - wanted.depth,
        wanted.step_x - offered.step_x + wanted.step_y - offered.step_y,
        offered.alpha,
        # The formats with full range in their name are on their way out.
        name.startswith("yuvj") != source.startswith("yuvj"),
    )


def _is_software(name: str) -> bool:
    return bool(av.VideoFormat(name, 16, 16).components)
