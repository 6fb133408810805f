"""The devices that FFmpeg decodes on, and what opens there."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from faceblur.gpus import find_gpus
from faceblur.video.opening import reason

OWN_DECODERS: Final = ("v4l2m2m",)
"""Not devices of FFmpeg's decoders, but decoders of their own."""

EXACT_CODECS: Final = ("h264", "hevc", "vp9", "av1")
"""What every decoder must decode to the same samples, bit for bit; older codecs leave it open."""

_AUTO_DEVICES: Final = ("cuda", "vaapi", "qsv", "videotoolbox")
_DRIVERS: Final = Path("/dev/dri")

_NATIVE: Final = {"av1": "av1"}
"""Decoders that work on devices, where FFmpeg prefers another one."""

_SETTINGS: Final[dict[str, tuple[dict[str, str], ...]]] = {
    # One context of the GPU for all that this process decodes; where what else runs in it has
    # opened the GPU in another way, one of its own.
    "cuda": ({"primary_ctx": "1"}, {}),
}

FAILURES: Final = (av.error.FFmpegError, ValueError, RuntimeError, OSError)
"""What PyAV raises where a device or a decoder does not open."""


class DeviceError(Exception):
    """A device cannot be used; says why."""


@lru_cache
def candidates() -> tuple[str, ...]:
    """The devices that may be here, by what can be told without opening any."""
    built = hwdevices_available()
    drivers = _DRIVERS.exists()
    there = {"vaapi": drivers, "qsv": drivers, "videotoolbox": sys.platform == "darwin"}
    return tuple(
        name
        for name in _AUTO_DEVICES
        if name in built and (bool(find_gpus()) if name == "cuda" else there[name])
    )


def accelerator(device: str, codec: str = "h264") -> HWAccel:
    """A device, opened once to see that it is there; it never goes on with the CPU unasked.

    Args:
        device: FFmpeg's name of it.
        codec: What is to be decoded there.

    Raises:
        DeviceError: It is not there, or not built in, or decodes no such codec.
    """
    why = ""
    for settings in _SETTINGS.get(device, ({},)):
        try:
            found = HWAccel(
                device_type=device, allow_software_fallback=False, options=dict(settings)
            )
            found.create(av.Codec(_NATIVE.get(codec, codec), "r"))
        except FAILURES as error:
            why = _why(device, error)
        else:
            return found
    raise DeviceError(why)


def own_decoder(device: str, stream: Any) -> Any:
    """The codec context of a decoder that is of the device alone.

    Raises:
        DeviceError: It does not open.
    """
    context = stream.codec_context
    try:
        decoder: Any = av.CodecContext.create(f"{context.codec.canonical_name}_{device}", "r")
        decoder.extradata = context.extradata
        decoder.open()
    except FAILURES as error:
        raise DeviceError(_why(device, error)) from error
    return decoder


def native_context(stream: Any, found: HWAccel | None) -> Any:
    """A codec context for a stream's packets, apart from its own.

    Raises:
        DeviceError: There is no such decoder, or the device decodes no such codec.
    """
    own = stream.codec_context
    name = own.codec.canonical_name
    name = own.codec.name if found is None else _NATIVE.get(name, name)
    try:
        context: Any = av.CodecContext.create(name, "r", found)
        context.extradata = own.extradata
    except FAILURES as error:
        raise DeviceError(str(error)) from error
    if found is not None and not context.is_hwaccel:
        raise DeviceError(f"it decodes no {name}")
    return context


def _why(device: str, error: BaseException) -> str:
    if isinstance(error, NotImplementedError) or device not in hwdevices_available():
        missing = device not in hwdevices_available() and device not in OWN_DECODERS
        return "this FFmpeg was built without it" if missing else "it decodes no such video"
    if device == "cuda" and not find_gpus():
        return "no NVIDIA GPU is here"
    return reason(error)
