"""Transparency of video frames: what it hides is taken out, and it is kept or laid over black.

The colours under a transparent place are in the file all the same, and players that know nothing of
transparency show them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from faceblur.errors import InputError
from faceblur.image.pixels import Plane
from faceblur.video.frames import SCALER_THREADS
from faceblur.video.surface import VideoSurface, drawable_format, is_full_range, subsample

_HIDDEN: Final = 5 / 255
"""Opacity up to which a place counts as hidden: encoders do not keep a zero exactly."""
_ALPHA_DECODERS: Final = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Those of FFmpeg's own leave transparency out."""
_BESIDE: Final = "matroska_block_additional"


def has_alpha(pixel_format: str) -> bool:
    """Whether a pixel format has transparency; palettes do."""
    parts = av.VideoFormat(pixel_format, 16, 16).components
    return pixel_format == "pal8" or any(part.is_alpha for part in parts)


def drawable_with_alpha(name: str) -> str:
    """The pixel format to draw on, for frames of a given one: with transparency if that has any."""
    if not has_alpha(name):
        return drawable_format(name)
    if name.startswith("yuva"):
        return re.sub("be$", "le", name)
    plain = drawable_format(name)
    # Grey is laid out as colours: there is no grey with transparency in planes.
    return "gbrap" + plain.removeprefix("gray").removeprefix("gbrp")


def alpha_decoder(stream: av.VideoStream, first: Any) -> Any:
    """The decoder that does not leave out a track's transparency.

    Returns:
        The track's own codec context, or another one if its metadata or first packet asks for it.

    Raises:
        InputError: There is no such decoder here.
    """
    name = _ALPHA_DECODERS.get(stream.codec.canonical_name)
    beside = first is not None and first.has_sidedata(_BESIDE)
    if name is None or not (beside or stream.metadata.get("alpha_mode") == "1"):
        return stream.codec_context
    try:
        return av.CodecContext.create(name, "r")
    except ValueError as error:
        raise InputError(
            f"{stream.container.name} is transparent in places, and there is no {name} here to "
            "read where: what is hidden would show; install PyAV from its wheels"
        ) from error


def hide(image: av.VideoFrame) -> None:
    """Make transparent places of a drawable image black and wholly transparent, in place."""
    surface = VideoSurface(image)
    assert surface.alpha is not None
    alpha = surface.alpha.pixels
    hidden = alpha <= surface.peak * _HIDDEN
    if not hidden.any():
        return
    alpha[hidden] = 0
    for plane, black in zip(surface.planes, _blacks(image, surface), strict=True):
        plane.pixels[_share(hidden, plane) > 0.999] = black


def flatten(image: av.VideoFrame, reformatter: VideoReformatter) -> tuple[av.VideoFrame, bool]:
    """Lay a frame of a drawable format with transparency over black; its samples are changed.

    Returns:
        The frame without transparency, and whether it had any.
    """
    surface = VideoSurface(image)
    assert surface.alpha is not None
    opacity = surface.alpha.pixels.astype(np.float32) / surface.peak
    through = bool((opacity < 1).any())
    if through:
        for plane, black in zip(surface.planes, _blacks(image, surface), strict=True):
            shown = (plane.pixels - np.float32(black)) * _share(opacity, plane) + black
            plane.pixels[:] = np.rint(shown).astype(plane.pixels.dtype)
    name = image.format.name.replace("yuva", "yuv").replace("gbrap", "gbrp")
    opaque = reformatter.reformat(
        image, format=name, dst_color_range=image.color_range, threads=SCALER_THREADS
    )
    return opaque, through


def _blacks(image: av.VideoFrame, surface: VideoSurface) -> list[int]:
    """Black in each plane of colours."""
    if image.format.is_rgb:
        return [0] * len(surface.planes)
    middle = (surface.peak + 1) // 2
    return [0 if is_full_range(image) else middle // 8, middle, middle][: len(surface.planes)]


def _share(pixels: npt.NDArray[Any], plane: Plane) -> npt.NDArray[np.float32]:
    """Averages over the pixels that each sample of a plane stands for."""
    return subsample(pixels.astype(np.float32), plane)
