"""A sink's process: take masked frames from shared memory, encode and write them."""

from __future__ import annotations

import os
import sys
from pkgutil import resolve_name
from typing import Final

from faceblur.errors import OutputError
from faceblur.live.audio import AudioFormat, get
from faceblur.live.frame_format import FrameFormat
from faceblur.live.process.messages import Message
from faceblur.live.process.worker import WorkerContext
from faceblur.live.sharding.permit import now_s
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.writer import Output, ViewerLeftError, Writer

_WRITERS: Final = {
    "null": "writer:NullWriter",
    "segments": "segments:SegmentWriter",
    "mjpeg": "mjpeg:MjpegWriter",
    "srt": "srt:SrtWriter",
    "whip": "whip:WhipWriter",
    "window": "window:WindowWriter",
}
"""Imported when needed: OpenCV and aiortc are large."""


def open_writer(options: SinkOptions) -> Writer:
    """The writer for a sink.

    Raises:
        OutputError: It cannot work here.
    """
    is_window = options.kind == "window" and sys.platform == "linux"
    if is_window and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        # Qt ends the process where it finds no screen.
        raise OutputError("there is no screen here; use another sink, such as mjpeg:8090")
    name = _WRITERS.get(options.kind, "stream:StreamWriter")
    writer: Writer = resolve_name(f"faceblur.live.sinks.{name}")(options)
    return writer


def work(worker: WorkerContext) -> None:
    """Write until told to finish."""
    options: SinkOptions = worker.settings
    writer = open_writer(options)
    audio: AudioFormat | None = None
    while True:
        worker.link.wait()
        for message in worker.link.receive():
            if message["kind"] == "finish":
                writer.close()
                worker.link.send(kind="finished")
                return
            if message["kind"] == "audio":
                audio = AudioFormat.from_message(message)
                continue
            if message["until_s"] is not None and now_s() >= message["until_s"]:
                # This process was held up, and another service may run the camera by now.
                worker.link.send(kind="late", slot=message["slot"])
                continue
            try:
                writer.write(_output(worker, message, audio))
            except ViewerLeftError:
                worker.link.send(kind="quit")
                return
            worker.link.send(kind="written", slot=message["slot"])


def _output(worker: WorkerContext, message: Message, audio: AudioFormat | None) -> Output:
    format_ = FrameFormat.from_message(message)
    memory = worker.memory.slot(message["slot"])
    return Output(
        format_,
        memory[: format_.size_bytes],
        message["time_s"],
        message["arrived_s"],
        audio,
        get(message["audio"], memory[format_.size_bytes :]),
    )
