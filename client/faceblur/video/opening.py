"""Open a file as a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import av

from faceblur.errors import InputError

_IMAGE_FORMATS: Final = frozenset(("image2", "gif", "apng", "ico"))


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


def reason(error: BaseException) -> str:
    """What FFmpeg says is wrong."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
