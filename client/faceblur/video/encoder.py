"""Open an encoder, and keep away what it must not do."""

from __future__ import annotations

from typing import Any, Final

import cv2

from faceblur.video.priority import kept_priority

_AVX512: Final = 13
"""OpenCV's number of it; what has it has AVX2."""
_X264: Final = ("libx264", "libx264rgb")


def open_encoder(context: Any) -> None:
    """Open an encoder; each is opened by this, and none by its first frame.

    Args:
        context: PyAV's, with all its settings.

    Raises:
        av.error.FFmpegError: It does not open.
    """
    if context.name in _X264 and cv2.checkHardwareSupport(_AVX512):
        context.options = without_avx512(context.options)
    with kept_priority():
        context.open()


def without_avx512(options: dict[str, str]) -> dict[str, str]:
    """Options for x264 with which it does not use AVX-512.

    With it, x264 weighs blocks by what follows from them (mbtree) otherwise than with all its other
    code, and otherwise from run to run: frames become smaller and worse than they were asked for,
    and the same ones do not become the same bytes.

    Example:
        >>> without_avx512({"x264-params": "tff=1"})
        {'x264-params': 'tff=1:asm=AVX2'}
    """
    given = options.get("x264-params")
    return {**options, "x264-params": f"{given}:asm=AVX2" if given else "asm=AVX2"}
