"""Decode a stream on a device where that works, and on the CPU where it does not."""

from __future__ import annotations

from typing import Any, Final

import av

from faceblur.video.hardware.choice import choose_decoder, warn
from faceblur.video.hardware.decoder import DeviceDecoder
from faceblur.video.hardware.devices import (
    OWN_DECODERS,
    DeviceError,
    accelerator,
    native_context,
    own_decoder,
)
from faceblur.video.options import HardwareDecoding

MOST_KEPT_BYTES: Final = 32 << 20
"""Packets since the last key frame that are kept of a camera. What is needed is what it sends from
one key frame to the next, and a few packets that the device still holds: 25 MB of 4K at 20 Mbit/s
with 10 s in between, far less of most. Many cameras decode at once, each in memory of its own."""


def device_decoder(stream: Any, wanted: HardwareDecoding, label: str) -> DeviceDecoder | None:
    """What decodes a stream on a device; None where the CPU is to, with one warning if asked.

    What a camera damages is told as FFmpeg's InvalidDataError, as the CPU would.
    """
    codec = stream.codec_context.codec.canonical_name
    # Many of these processes start at once; whoever starts them has measured.
    device = choose_decoder(wanted, codec, may_measure=False).name
    if device is None:
        return None
    try:
        context = open_context(device, stream)
    except DeviceError as error:
        warn(device, str(error))
        return None
    return DeviceDecoder(
        context,
        stream.codec_context,
        name=device,
        label=label,
        checked=False,
        passes=(av.error.InvalidDataError,),
        most_kept_bytes=MOST_KEPT_BYTES,
    )


def open_context(device: str, stream: Any) -> Any:
    """A codec context on a device for a stream.

    Raises:
        DeviceError: It does not decode it.
    """
    if device in OWN_DECODERS:
        return own_decoder(device, stream)
    codec = stream.codec_context.codec.canonical_name
    context = native_context(stream, accelerator(device, codec))
    context.thread_count = 1
    return context
