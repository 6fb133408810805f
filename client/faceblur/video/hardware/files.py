"""Decode the video track of a file on a device."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av

from faceblur.errors import InputError
from faceblur.video.hardware.choice import choose_decoder, warn
from faceblur.video.hardware.decoder import DeviceDecoder
from faceblur.video.hardware.devices import (
    EXACT_CODECS,
    FAILURES,
    OWN_DECODERS,
    DeviceError,
    accelerator,
    native_context,
    own_decoder,
)
from faceblur.video.opening import open_container
from faceblur.video.options import HardwareDecoding

logger = logging.getLogger(__name__)


def open_device_decoder(
    path: Path, stream: av.VideoStream, wanted: HardwareDecoding
) -> DeviceDecoder | None:
    """What decodes a track on a device; None where the CPU is to do it, with one warning if asked.

    The track's own codec context is left for the CPU.
    """
    codec = stream.codec.canonical_name
    if wanted == "off":
        return None
    if codec not in EXACT_CODECS:
        why = f"{codec} is not the same, bit for bit, on every decoder"
        if wanted == "auto":
            logger.info("%s: decoding on the CPU: %s", path, why)
        else:
            warn(wanted, why)
        return None
    chosen = choose_decoder(wanted, codec)
    logger.info("%s: decoding on %s (%s)", path, chosen.name or "the CPU", chosen.why)
    if chosen.name is None:
        return None
    try:
        context, container = open_context(chosen.name, path, stream)
    except (DeviceError, InputError) as error:
        warn(chosen.name, str(error))
        return None
    return DeviceDecoder(
        context,
        stream.codec_context,
        name=chosen.name,
        label=str(path),
        checked=True,
        close=(lambda: None) if container is None else container.close,
    )


def open_context(device: str, path: Path, stream: av.VideoStream) -> tuple[Any, Any]:
    """A codec context on a device for a track, and the container that it is of, if any.

    Raises:
        DeviceError: It does not decode this track.
        InputError: The file cannot be opened again.
    """
    if device in OWN_DECODERS:
        return own_decoder(device, stream), None
    codec = stream.codec.canonical_name
    found = accelerator(device, codec)
    if stream.codec.name != codec:
        # FFmpeg's first choice works on no device; the codec has no frames that it reorders.
        return native_context(stream, found), None
    # Of a container that was opened on the device: it knows all that the file says of the track.
    try:
        container = open_container(path, found)
    except FAILURES as error:
        raise DeviceError(str(error)) from error
    context = container.streams[stream.index].codec_context
    if context is None or not context.is_hwaccel:
        container.close()
        raise DeviceError(f"it decodes no {codec}")
    context.thread_count = 1
    return context, container
