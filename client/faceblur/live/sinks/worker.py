"""A sink's process: take masked frames from shared memory, encode and write them."""

from __future__ import annotations

import os
import sys

from faceblur.errors import OutputError
from faceblur.live.audio import AudioFormat, get
from faceblur.live.frame_format import FrameFormat
from faceblur.live.process.messages import Message
from faceblur.live.process.worker import WorkerContext
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sinks.segments import SegmentWriter
from faceblur.live.sinks.stream import StreamWriter
from faceblur.live.sinks.writer import NullWriter, Output, ViewerLeftError, Writer


def open_writer(options: SinkOptions) -> Writer:
    """The writer for a sink.

    Raises:
        OutputError: It cannot work here.
    """
    if options.kind == "null":
        return NullWriter()
    if options.kind == "segments":
        return SegmentWriter(options)
    if options.kind == "mjpeg":
        # OpenCV is large: only where it is needed.
        from faceblur.live.sinks.mjpeg import MjpegWriter

        return MjpegWriter(options)
    if options.kind == "srt":
        from faceblur.live.sinks.srt import SrtWriter

        return SrtWriter(options)
    if options.kind == "whip":
        from faceblur.live.sinks.whip import WhipWriter

        return WhipWriter(options)
    if options.kind == "window":
        if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
            # Qt ends the process where it finds no screen.
            raise OutputError("there is no screen here; use another sink, such as mjpeg:8090")
        from faceblur.live.sinks.window import WindowWriter

        return WindowWriter()
    return StreamWriter(options)


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
