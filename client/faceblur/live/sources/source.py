"""A camera's source, seen from the camera: a child process that is watched and restarted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from faceblur.detection.parts import CloseUps
from faceblur.live.audio import AudioFormat, get
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import RawFrame
from faceblur.live.process.child import START_S, WorkerProcess, send_quietly
from faceblur.live.process.messages import Message
from faceblur.live.process.supervisor import Supervisor
from faceblur.live.sources.preparation import model_input_offset, plan_input
from faceblur.live.sources.worker import SourceJob
from faceblur.redaction import redact


class Source(Supervisor):
    """Delivers a camera's frames, and opens the source again whenever it fails. One thread's.

    Attributes:
        lost: Frames that the source left out, for all slots were taken.
        ended: It has come to its end, and is not opened again.
        audio: What the audio is like that comes with the frames; None without any.
    """

    def __init__(self, job: SourceJob, *, name: str, slots: int) -> None:
        super().__init__(
            "faceblur.live.sources.worker", job, label=job.source.label, name=name, slots=slots
        )
        self._job = job
        self._frame_s: float | None = None
        self.lost = 0
        self.ended = False
        self.audio: AudioFormat | None = None

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
        for message in self._receive(child, now_s):
            if message.get("kind") == "frame":
                frame = self._frame(child, message)
                if frame is None:
                    self._fail(f"{self._label}: its process sent nonsense", now_s)
                    return
                self._frame_s = now_s
                self.online = True
                yield frame
            elif not self._handle(message, now_s):
                return
        if self._child is not None and now_s > self._limit_s():
            what = "no frame" if self._frame_s is None else "no new frame"
            limit_s = self._limit_s() - (self._frame_s or self._opened_s)
            self._fail(f"{self._label}: {what} within {limit_s:g} s", now_s)

    def _open(self, now_s: float) -> bool:
        self._frame_s = None
        return super()._open(now_s)

    def _limit_s(self) -> float:
        source = self._job.source
        if self._frame_s is None:
            return self._opened_s + source.open_timeout_s + START_S
        return self._frame_s + source.quiet_s

    def _handle(self, message: Message, now_s: float) -> bool:
        """Act on a message that is not a frame; whether the child lives on."""
        kind, text = message.get("kind"), redact(str(message.get("text", "")))
        if kind == "audio":
            with suppress(KeyError, ValueError):
                self.audio = AudioFormat.from_message(message)
            return True
        if kind == "ended":
            with suppress(TypeError, ValueError):
                self.lost += int(message.get("lost", 0))
        if kind == "ended" and self._job.source.ends:
            self.ended = True
            self.close()
            return False
        if kind == "ended":
            text = f"{self._label}: the stream has ended"
        self._fail(text or "the source's process sent nonsense", now_s)
        return False

    def _frame(self, child: WorkerProcess, message: Message) -> RawFrame | None:
        try:
            format_ = FrameFormat.from_message(message)
            slot = int(message["slot"])
            memory = child.memory.slot(slot)
            arrived_s, time_s = float(message["arrived_s"]), float(message["time_s"])
            self.lost += int(message["lost"])
            job, inputs, parts = self._job, [], tuple(map(int, message["parts"]))
            plan = plan_input(format_, size=job.size, stride=job.stride, tiles=job.tiles)
            if message["model_input"]:
                start, count = model_input_offset(format_), 1 + len(parts)
                taken = memory[start : start + count * plan.input_bytes]
                inputs = list(taken.reshape(count, *plan.whole.shape, 3))
            close_ups = CloseUps(plan, parts, tuple(inputs[1:])) if plan.parts and inputs else None
            samples = memory[: format_.size_bytes]
            audio_start, entries = message["audio"]
            audio = get(entries, memory[int(audio_start) :])
            if samples.size < format_.size_bytes:
                return None
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            return None
        frame = RawFrame(
            format_,
            samples,
            arrived_s=arrived_s,
            time_s=time_s,
            model_input=inputs[0] if inputs else None,
            letterbox=plan.whole if inputs else None,
            close_ups=close_ups,
            audio=audio,
        )

        def release() -> None:
            send_quietly(child.link, free=slot, unseen=() if frame.is_checked else parts)

        frame.on_release = release
        return frame
