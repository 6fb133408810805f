"""Tell an encoder about quality and HDR, in the words of each."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from faceblur.video.frames import VideoProperties
from faceblur.video.options import VideoOptions

logger = logging.getLogger(__name__)

INTERLACED: Final = frozenset(("libx264", "mpeg2video"))
"""Encoders that can say that a frame is two fields."""

_CARRIES: Final = {
    **dict.fromkeys(("libx264", "libx265"), ("a53cc", "udu_sei")),
    **dict.fromkeys(("mpeg2video", "h264_qsv"), ("a53cc",)),
    **dict.fromkeys(("h264_nvenc", "hevc_nvenc", "av1_nvenc"), ("a53cc", "udu_sei", "s12m_tc")),
}
"""Options of encoders that pass on what frames carry."""

# SMPTE ST 2086 counts in 0.00002 and in 0.0001 cd/m²; SVT-AV1 wants the numbers themselves.
_ST2086: Final = (50_000, 10_000)
HDR_OPTIONS: Final = {
    "libx265": ("x265-params", "master-display", "max-cll", _ST2086),
    "libx264": ("x264-params", "mastering-display", "cll", _ST2086),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", (1, 1)),
}
"""By encoder: the option that takes them, their names in it, and its units."""

_LAMBDA_PER_QUANTISER: Final = 118
"""FF_QP2LAMBDA."""


def encoder_settings(
    encoder: str, options: VideoOptions, source: VideoProperties
) -> dict[str, str]:
    """The options that an encoder is opened with."""
    factor = options.rate_factor
    settings = {}
    if encoder in _QUALITY:
        settings = _QUALITY[encoder](factor)
    elif encoder.endswith("_nvenc"):
        settings = {"preset": "p4", "rc": "vbr", "cq": f"{factor:.0f}", "b": "0"}
    elif encoder.endswith("_qsv"):
        settings = {"global_quality": f"{factor:.0f}"}
    elif options.quality is not None:
        logger.warning("%s has no quality that could be set; using its default", encoder)
    if encoder in ("libvpx", "libvpx-vp9") and source.rate:
        settings["g"] = str(max(1, round(10 * source.rate)))
    if encoder == "libvpx":
        # VP8's constant quality is only an upper limit to a bit rate.
        settings["b"] = str(round(source.width * source.height * float(source.rate or 25) / 4))
    # What a frame carries beside its samples would go along unseen: captions, time codes, more.
    settings |= dict.fromkeys(_CARRIES.get(encoder, ()), "0")
    if options.keep_subtitles:
        settings.pop("a53cc", None)
    if source.interlaced and encoder in INTERLACED:
        settings["flags"] = settings.get("flags", "") + "+ildct+ilme"
        if encoder == "libx264":
            # Other encoders ask each frame.
            settings["x264-params"] = "bff=1" if source.bottom_field_first else "tff=1"
    return _with_hdr(settings, encoder, source)


def _with_hdr(settings: dict[str, str], encoder: str, source: VideoProperties) -> dict[str, str]:
    """Add what is constant over a video of the HDR metadata."""
    if encoder not in HDR_OPTIONS:
        return settings
    name, display_name, light_name, units = HDR_OPTIONS[encoder]
    parts = [settings[name]] if name in settings else []
    display = source.mastering_display and _mastering_display(source.mastering_display, units)
    if display:
        parts.append(f"{display_name}={display}")
    if source.light_level:
        maximum, average = struct.unpack_from("=2I", source.light_level)
        parts.append(f"{light_name}={maximum},{average}")
    return {**settings, name: ":".join(parts)} if parts else settings


def _mastering_display(metadata: bytes, units: tuple[int, int]) -> str | None:
    """FFmpeg's AVMasteringDisplayMetadata in the notation that encoders share; None if incomplete.

    It holds red, green, blue and white point as pairs of x and y, lowest and highest luminance, all
    rationals; then whether it has each kind. `units` is how many units the encoder wants to one, in
    chromaticity and to 1 cd/m².
    """
    numbers = struct.unpack_from("=22i", metadata)
    if not (numbers[20] and numbers[21]) or not all(numbers[1:20:2]):
        return None
    ratios = [Fraction(*numbers[i : i + 2]) for i in range(0, 20, 2)]
    places, light = units
    red, green, blue, white = (
        f"({_scale(ratios[i], places)},{_scale(ratios[i + 1], places)})" for i in range(0, 8, 2)
    )
    low, high = (_scale(value, light) for value in ratios[8:])
    return f"G{green}B{blue}R{red}WP{white}L({high},{low})"


def _scale(value: Fraction, units: int) -> str:
    return f"{float(value):g}" if units == 1 else str(round(value * units))


def _vpx(factor: float, speed: str) -> dict[str, str]:
    return {"crf": f"{factor * 63 / 51:.0f}", "deadline": "realtime", "cpu-used": speed}


def _quantiser(factor: float) -> dict[str, str]:
    """For the MPEG family: a fixed quantiser of 1 to 31; 4 compares to x264's 20."""
    quantiser = min(31, max(1, round(factor / 5)))
    return {"flags": "+qscale", "global_quality": str(quantiser * _LAMBDA_PER_QUANTISER)}


_QUALITY: Final[dict[str, Callable[[float], dict[str, str]]]] = {
    "libx264": lambda factor: {"preset": "veryfast", "crf": f"{factor:g}"},
    "libx265": lambda factor: {
        "preset": "superfast",
        "crf": f"{factor:g}",
        "x265-params": "log-level=none",
    },
    "libvpx-vp9": lambda factor: {**_vpx(factor, "6"), "b": "0", "row-mt": "1"},
    # VP8 takes no less than 4.
    "libvpx": lambda factor: _vpx(max(4 * 51 / 63, factor), "8"),
    "libsvtav1": lambda factor: {"preset": "8", "crf": f"{factor * 63 / 51:.0f}"},
    **dict.fromkeys(("mpeg4", "mpeg2video", "mjpeg", "wmv2", "flv"), _quantiser),
}
