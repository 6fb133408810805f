"""Decode on a device where there is one, and on the CPU where there is none."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel

from faceblur.live.sources.options import HardwareDecoding

logger = logging.getLogger(__name__)

_AUTO_DEVICES: Final = ("cuda", "vaapi", "qsv", "videotoolbox", "drm")
_OWN_DECODERS: Final = ("v4l2m2m",)
"""Not devices of FFmpeg's decoders, but decoders of their own."""


def accelerator(wanted: HardwareDecoding) -> HWAccel | None:
    """What FFmpeg's decoders work on; None for the CPU, with a warning if a device was named."""
    device = _device(wanted)
    return None if device is None else HWAccel(device_type=device, allow_software_fallback=True)


def own_decoder(stream: Any, wanted: HardwareDecoding) -> Any:
    """A decoder to use in place of a stream's; None, with a warning, where it does not open."""
    if wanted not in _OWN_DECODERS:
        return None
    context = stream.codec_context
    try:
        decoder: Any = av.CodecContext.create(f"{context.codec.canonical_name}_{wanted}", "r")
        decoder.extradata = context.extradata
        decoder.open()
    except (ValueError, OSError, av.error.FFmpegError) as error:
        _warn(wanted, str(error))
        return None
    return decoder


@lru_cache
def _device(wanted: HardwareDecoding) -> str | None:
    """What there is of what is wanted; tried once, and not each time that a file begins."""
    if wanted == "off" or wanted in _OWN_DECODERS:
        return None
    for device in _AUTO_DEVICES if wanted == "auto" else (wanted,):
        try:
            found = HWAccel(device_type=device, allow_software_fallback=True)
            # Only opening the device tells whether there is one.
            found.create(av.Codec("h264", "r"))
            return device
        except (ValueError, RuntimeError, av.error.FFmpegError) as error:
            logger.debug("no %s here: %s", device, error)
    if wanted != "auto":
        _warn(wanted, "no such device")
    return None


@lru_cache
def _warn(wanted: str, why: str) -> None:
    """Say it once."""
    logger.warning("cannot decode with %s here; decoding on the CPU", wanted)
    logger.debug("%s: %s", wanted, why)
