"""A camera's source, seen from the camera: a child process that is watched and started anew."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

from faceblur.detection.letterbox import Letterbox
from faceblur.detection.repeats import Repeats, kind_of
from faceblur.live.audio import AudioFormat, get
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import RawFrame
from faceblur.live.process.backoff import Backoff
from faceblur.live.process.child import START_S, WorkerProcess, no_child, send_quietly
from faceblur.live.process.messages import LinkClosedError, Message, MessageSocket
from faceblur.live.sources.worker import SourceJob, model_input_offset, plan_input
from faceblur.redaction import redact

logger = logging.getLogger(__name__)


class Source:
    """Delivers a camera's frames, and opens the source again whenever it fails. One thread's.

    Attributes:
        lost: Frames that the source left out, for all slots were taken.
        opened: How often it was opened.
        ended: It has come to its end, and is not opened again.
        error: Why it failed last, without credentials.
        online: Frames come.
        audio: What the audio is like that comes with the frames; None without any.
    """

    def __init__(self, job: SourceJob, *, name: str, slots: int) -> None:
        self._job = job
        self._name = name
        self._slots = slots
        self._child: WorkerProcess | None = None
        self._backoff = Backoff()
        self._repeats = Repeats()
        self._retry_s = 0.0
        self._opened_s = 0.0
        self._frame_s: float | None = None
        self.lost = 0
        self.opened = 0
        self.ended = False
        self.error = ""
        self.online = False
        self.audio: AudioFormat | None = None

    @property
    def link(self) -> MessageSocket | None:
        """What to wait on; None while there is no child."""
        return None if self._child is None else self._child.link

    def due_s(self) -> float:
        """When `poll` has to be called at the latest, if nothing comes before."""
        if self.ended:
            return float("inf")
        return self._retry_s if self._child is None else self._limit_s()

    def poll(self, now_s: float) -> Iterator[RawFrame]:
        """Take what has come, and see to it that the source is there.

        Each frame has to be released.
        """
        if self.ended:
            return
        if self._child is None:
            if now_s >= self._retry_s:
                self._open(now_s)
            return
        child = self._child
        try:
            messages = child.link.receive()
        except LinkClosedError:
            child.wait(1.0)
            self._fail(f"{self._job.source.label}: {child.how_it_ended()}", now_s)
            return
        for message in messages:
            if message.get("kind") == "frame":
                frame = self._frame(child, message)
                if frame is None:
                    self._fail(f"{self._job.source.label}: its process sent nonsense", now_s)
                    return
                self._frame_s = now_s
                self.online = True
                yield frame
            elif not self._handle(message, now_s):
                return
        if now_s > self._limit_s():
            what = "no picture" if self._frame_s is None else "no new picture"
            limit_s = self._limit_s() - (self._frame_s or self._opened_s)
            self._fail(f"{self._job.source.label}: {what} within {limit_s:g} s", now_s)

    def close(self) -> None:
        """End the child process; there is nothing to flush."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        self.online = False

    def _open(self, now_s: float) -> None:
        try:
            self._child = WorkerProcess(
                "faceblur.live.sources.worker", self._job, name=self._name, slots=self._slots
            )
        except OSError as error:
            self._fail(no_child(error), now_s)
            return
        self.opened += 1
        self._opened_s, self._frame_s = now_s, None

    def _limit_s(self) -> float:
        source = self._job.source
        if self._frame_s is None:
            return self._opened_s + source.open_timeout_s + START_S
        return self._frame_s + source.quiet_s

    def _fail(self, error: str, now_s: float) -> None:
        """Give up this child, and try again after a pause."""
        is_other = kind_of(redact(error)) != kind_of(self.error) or self.online
        if is_other and self._repeats.is_new(redact(error)):
            logger.warning("camera %s: %s; trying again", self._name, redact(error))
        self.error = redact(error)
        self.close()
        worked_for_s = 0.0 if self._frame_s is None else now_s - self._opened_s
        self._retry_s = now_s + self._backoff.pause_s(worked_for_s=worked_for_s)

    def _handle(self, message: Message, now_s: float) -> bool:
        """Act on a message that is no frame; whether the child lives on."""
        kind, text = message.get("kind"), str(message.get("text", ""))
        if kind == "warning":
            if self._repeats.is_new(redact(text)):
                logger.warning("camera %s: %s", self._name, redact(text))
            return True
        if kind == "audio":
            with suppress(KeyError, ValueError):
                self.audio = AudioFormat.from_message(message)
            return True
        if kind == "ended" and self._job.source.ends:
            self.ended = True
            self.close()
            return False
        if kind == "ended":
            text = f"{self._job.source.label}: the stream has ended"
        self._fail(text or "the source's process sent nonsense", now_s)
        return False

    def _frame(self, child: WorkerProcess, message: Message) -> RawFrame | None:
        try:
            format_ = FrameFormat.from_message(message)
            slot = int(message["slot"])
            memory = child.ring.slot(slot)
            arrived_s, time_s = float(message["arrived_s"]), float(message["time_s"])
            self.lost += int(message["lost"])
            letterbox = model_input = None
            if message["model_input"]:
                letterbox = _letterbox(format_, self._job.size, self._job.stride)
                height, width = letterbox.shape
                start = model_input_offset(format_)
                model_input = memory[start : start + height * width * 3].reshape(height, width, 3)
            samples = memory[: format_.size_bytes]
            audio_start, entries = message["audio"]
            audio = get(entries, memory[int(audio_start) :])
            if samples.size < format_.size_bytes:
                return None
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            return None
        return RawFrame(
            format_,
            samples,
            arrived_s=arrived_s,
            time_s=time_s,
            model_input=model_input,
            letterbox=letterbox,
            audio=audio,
            on_release=lambda: send_quietly(child.link, free=slot),
        )


@lru_cache(maxsize=64)
def _letterbox(format_: FrameFormat, size: int, stride: int) -> Letterbox:
    return plan_input(format_, size=size, stride=stride)
