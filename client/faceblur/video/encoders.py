"""Choose an encoder and tell it to keep what the source has."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

import av
from av.codec import Capabilities

from faceblur.errors import InputError
from faceblur.video.alpha import has_alpha
from faceblur.video.containers import Container, bit_depth, closest_format, subsampling, whole_size
from faceblur.video.encoder_settings import HDR_OPTIONS, INTERLACED, encoder_settings
from faceblur.video.frames import VideoProperties
from faceblur.video.hardware.choice import AUTO, choose_encoder_like
from faceblur.video.opening import open_encoder, reason
from faceblur.video.options import VideoOptions

logger = logging.getLogger(__name__)

_WELL_KNOWN: Final = (
    *("libx264", "libx265", "libsvtav1", "libvpx-vp9", "libvpx", "libopenh264"),
    *("h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_amf", "hevc_amf"),
    *("h264_videotoolbox", "hevc_videotoolbox", "h264_v4l2m2m"),
    *("mpeg4", "mpeg2video", "mjpeg", "prores_ks", "dnxhd", "ffv1"),
)
_COUNTING: Final = frozenset(("mpeg1video", "mpeg2video", "mpeg4", "wmv1", "wmv2", "flv1"))
_EVEN_ONLY: Final = frozenset(("h264", "hevc", "av1", "wmv1", "wmv2"))
_SAY_RANGE: Final = frozenset(("h264", "hevc", "av1", "vp9", "mjpeg"))
"""Codecs in which samples may span all values, and the stream says so."""
_LEAVE_RANGE: Final = frozenset(("ffv1", "ffvhuff", "huffyuv", "utvideo", "magicyuv"))
"""Codecs that say nothing of it, so that it counts what Matroska says."""
_KEEP_ALPHA: Final = frozenset(
    ("prores_ks", "qtrle", "png", "ffv1", "ffvhuff", "huffyuv", "utvideo", "magicyuv")
)
"""Encoders that keep transparency wherever their packets are put."""
_ALPHA_BESIDE: Final = frozenset(("libvpx-vp9", "libvpx"))
"""Encoders that put it beside the frame, where few containers have room for it."""
_VPX_ALPHA: Final = "yuva420p"
"""The only format with transparency that libvpx opens with, of several that it lists."""
_SUBSAMPLINGS: Final = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (1, 2): "4:4:0",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
    (4, 4): "4:1:0",
}
_DEVICES: Final = Capabilities.hardware | Capabilities.hybrid
_PQ: Final = 16
_HLG: Final = 18


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """An encoder and its settings.

    Attributes:
        even_sizes: It takes only whole chroma samples.
        counts_frames: It needs a frame rate, and takes one frame after the other at that; it
            puts out one packet for each.
        tag: What to call it in MP4 files, where the default is not widely understood.
        limits_range: It cannot say that samples span all values, so they must not.
    """

    name: str
    codec: str
    pixel_format: str
    options: dict[str, str] = field(default_factory=dict)
    even_sizes: bool = False
    counts_frames: bool = False
    tag: str | None = None
    limits_range: bool = False


def choose_encoder(
    container: Container, source: VideoProperties, options: VideoOptions
) -> EncoderChoice:
    """Choose the encoder that was asked for, or the first that loses nothing.

    Raises:
        InputError: The encoder that was asked for is not there, or none is.
    """
    codec: av.Codec | None
    if options.encoder == AUTO:
        codec = _on_gpu(_preferred_codec(container, source), source)
    elif options.encoder is not None:
        codec = _find(options.encoder)
        if codec is None:
            known = ", ".join(name for name in _WELL_KNOWN if _find(name))
            raise InputError(
                f"there is no video encoder called {options.encoder!r} here; choose from {known}"
            )
    else:
        codec = _preferred_codec(container, source)
    alpha = has_alpha(source.pixel_format) and _keeps_alpha(codec, container)
    beside = alpha and codec.name in _ALPHA_BESIDE
    pixel_format = _VPX_ALPHA if beside else closest_format(source, codec, alpha=alpha)
    _warn_of_losses(source, codec, pixel_format)
    limits_range = source.full_range and not _says_range(codec, container)
    # Grey and RGB become limited YUV for every encoder.
    if limits_range and source.pixel_format.startswith("yuv"):
        logger.warning(
            "%s cannot say that frames use the full range of values: they are brought to the "
            "limited one, and look the same",
            codec.name,
        )
    settings = encoder_settings(codec.name, options, source)
    if beside:
        settings["auto-alt-ref"] = "0"
    if container.edit_lists and source.rate_varies and codec.name in HDR_OPTIONS:
        # MP4 stores how long frames take to decode; only without reordering is that how long
        # they are shown, and adds up to the length of the video.
        settings["bf"] = "0"
    return EncoderChoice(
        name=codec.name,
        codec=codec.canonical_name,
        pixel_format=pixel_format,
        options=settings,
        even_sizes=codec.canonical_name in _EVEN_ONLY,
        counts_frames=codec.canonical_name in _COUNTING,
        limits_range=limits_range,
        tag="hvc1" if codec.canonical_name == "hevc" and container.edit_lists else None,
    )


def _on_gpu(codec: av.Codec, source: VideoProperties) -> av.Codec:
    """The GPU's encoder in place of one of the CPU, where it is faster and loses no more."""
    chosen = choose_encoder_like(codec.name)
    other = None if chosen.name is None else _find(chosen.name)
    if other is None:
        logger.info("encoding with %s: %s", codec.name, chosen.why)
        return codec
    ours, theirs = (closest_format(source, each) for each in (codec, other))
    keeps = bit_depth(theirs) >= bit_depth(ours) and subsampling(theirs) == subsampling(ours)
    if not keeps or has_alpha(source.pixel_format):
        logger.info("encoding with %s: %s loses samples", codec.name, other.name)
        return codec
    # There may be no room on the GPU, or its encoder takes no frames of this size.
    why = objection(other.name, (source.width, source.height), theirs)
    if why:
        logger.warning("encoding with %s: %s cannot: %s", codec.name, other.name, why)
        return codec
    logger.info("encoding with %s (%s)", other.name, chosen.why)
    return other


def objection(encoder: str, size: tuple[int, int], pixel_format: str) -> str:
    """Why an encoder does not work here; empty if it does. Only trying it tells."""
    try:
        context: Any = av.CodecContext.create(encoder, "w")
        context.width, context.height = whole_size(pixel_format, *size)
        context.pix_fmt, context.time_base = pixel_format, Fraction(1, 30)
        open_encoder(context)
        context.encode(av.VideoFrame(context.width, context.height, pixel_format))
    except (ValueError, OSError, RuntimeError, av.error.FFmpegError) as error:
        return reason(error)
    return ""


def on_device(encoder: str) -> bool:
    """Whether an encoder is not one of the CPU, as FFmpeg says."""
    return bool(av.Codec(encoder, "w").capabilities & _DEVICES)


def _keeps_alpha(codec: av.Codec, container: Container) -> bool:
    name = codec.name
    return name in _KEEP_ALPHA or (name in _ALPHA_BESIDE and name in container.alpha_encoders)


def _says_range(codec: av.Codec, container: Container) -> bool:
    name = codec.canonical_name
    return name in _SAY_RANGE or (name in _LEAVE_RANGE and container.format == "matroska")


def _preferred_codec(container: Container, source: VideoProperties) -> av.Codec:
    depth = bit_depth(source.pixel_format)
    names = container.encoders if depth <= 8 else container.deep_encoders
    if has_alpha(source.pixel_format) and container.alpha_encoders:
        transparent = [codec for name in container.alpha_encoders if (codec := _find(name))]
        if transparent:
            return transparent[0]
    found = [codec for name in names if (codec := _find(name))]
    if not found:
        raise InputError(
            f"none of the encoders for {container.format} is here ({', '.join(names)}); name one "
            "with --encoder, or write another kind of file"
        )
    enough = [codec for codec in found if bit_depth(closest_format(source, codec)) >= depth]
    best = (enough or found)[0]
    odd = _find(container.odd_encoder) if container.odd_encoder else None
    if odd and _extended_size(source, best) and bit_depth(closest_format(source, odd)) >= depth:
        return odd
    return best


def _extended_size(source: VideoProperties, codec: av.Codec) -> tuple[int, int] | None:
    """The size to which frames would be extended; None if they would not."""
    if codec.canonical_name not in _EVEN_ONLY:
        return None
    size = whole_size(closest_format(source, codec), source.width, source.height)
    return size if size != (source.width, source.height) else None


def _find(name: str) -> av.Codec | None:
    try:
        codec = av.Codec(name, "w")
    except ValueError:
        return None
    return codec if codec.type == "video" else None


def _warn_of_losses(source: VideoProperties, codec: av.Codec, pixel_format: str) -> None:
    encoder = codec.name
    extended = _extended_size(source, codec)
    if extended:
        logger.warning(
            "%s cannot keep %d × %d pixels: the last row and column are repeated to make %d × %d "
            "of them; .webm keeps odd sizes",
            encoder,
            *(source.width, source.height),
            *extended,
        )
    depth, kept = bit_depth(source.pixel_format), bit_depth(pixel_format)
    hdr = source.color_transfer in (_PQ, _HLG)
    if kept < depth:
        what = "HDR video will look wrong" if hdr else "gradients may show steps"
        logger.warning("%s keeps %d of %d bits: %s", encoder, kept, depth, what)
    colours, colours_kept = subsampling(source.pixel_format), subsampling(pixel_format)
    if colours_kept != colours and sum(colours_kept) > sum(colours):
        logger.warning(
            "%s keeps colours in less detail (%s of %s)",
            encoder,
            _SUBSAMPLINGS.get(colours_kept, "less"),
            _SUBSAMPLINGS.get(colours, "more"),
        )
    if source.dynamic_hdr:
        logger.warning("HDR settings that change from frame to frame are left out")
    if source.mastering_display and encoder not in HDR_OPTIONS:
        logger.warning("%s leaves out the HDR settings of the mastering display", encoder)
    if source.interlaced and encoder not in INTERLACED:
        logger.warning("%s keeps the two fields of each frame, but not that they are two", encoder)
