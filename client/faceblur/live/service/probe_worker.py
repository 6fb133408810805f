"""Open one source, in a process of its own, and say what it is; it hands over no frame."""

from __future__ import annotations

import av

from faceblur.errors import InputError
from faceblur.live.process.worker import WorkerContext
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.readers import SnapshotReader, StreamReader, open_reader
from faceblur.video.options import HardwareDecoding


def describe(options: SourceOptions, hardware: HardwareDecoding) -> str:
    """Codec, size and rate of a source, after its first frame was decoded.

    Raises:
        InputError: It has none, or does not open.
    """
    reader = open_reader(options, hardware)
    if isinstance(reader, SnapshotReader):
        first = next(iter(reader.frames())).image
        return f"images of {first.width}x{first.height}, asked for every {options.interval_s:g} s"
    if not isinstance(reader, StreamReader):
        first = next(iter(reader.frames())).image
        return f"test pattern, {first.width}x{first.height}, {options.fps:g} fps"
    try:
        with reader.open() as container:
            if not container.streams.video:
                raise InputError("it has no frames")
            stream = container.streams.video[0]
            decoded = next(reader.decode(container), None)
            if decoded is None:
                raise InputError("it has no frames that can be decoded")
            image = decoded.image
            rate = stream.average_rate or stream.guessed_rate
            shown = f"{float(rate):.4g} fps" if rate else "fps unknown"
            audio = ", with sound" if container.streams.audio else ""
            codec = stream.codec_context.name
            return f"{codec}, {image.width}x{image.height}, {shown}{audio}"
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InputError(str(reason)) from error


def work(worker: WorkerContext) -> None:
    """Look, and say it."""
    source, hardware = worker.settings
    worker.link.send(kind="found", text=describe(source, hardware))
