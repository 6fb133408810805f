"""Open files as videos, and encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import av
import cv2

from faceblur.errors import InputError
from faceblur.video.priority import kept_priority

_IMAGE_FORMATS: Final = frozenset(("image2", "gif", "apng", "ico"))
_AVX512: Final = 13
"""OpenCV's number of it; what has it has AVX2."""
_X264: Final = ("libx264", "libx264rgb")


def open_container(path: Path, hwaccel: Any = None) -> av.container.InputContainer:
    """Open a video file, with decoders on a device if one is given.

    Raises:
        InputError: It is not a video, or cannot be read.
    """
    # An absolute name cannot be mistaken for a URL, and a playlist in disguise cannot reach out.
    try:
        container = av.open(
            str(path.absolute()),
            "r",
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
            hwaccel=hwaccel,
        )
    except (av.error.InvalidDataError, EOFError) as error:
        raise InputError(
            f"{path} is not a video that can be read ({reason(error)}); check that the file is "
            "what its name says"
        ) from error
    except av.error.FFmpegError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    name = container.format.name
    if name.endswith("_pipe") or name in _IMAGE_FORMATS:
        container.close()
        raise InputError(
            f"{path} is an image, not a video; give it the suffix of its format and try again"
        )
    return container


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


def reason(error: BaseException) -> str:
    """What FFmpeg says is wrong."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
