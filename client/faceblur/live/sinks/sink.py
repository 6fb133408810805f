"""A camera's sink, seen from the camera: a child process with a deadline on everything it does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from faceblur.live.audio import AudioFormat, AudioPacket, AudioQueue, put
from faceblur.live.frames import SafeFrame
from faceblur.live.process.child import START_S, WorkerProcess
from faceblur.live.process.messages import LinkClosedError, Message
from faceblur.live.process.supervisor import Supervisor
from faceblur.live.sinks.audio_track import takes_audio
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.stats import DelayMeter, SinkState, SinkStats
from faceblur.live.tracing import FrameTrace
from faceblur.redaction import redact

SLOTS: Final = 3
"""One is written, one waits, one is being filled."""


class Sink(Supervisor):
    """Passes masked frames on, and never waits for it. One thread's, but for `stats`.

    Attributes:
        quit: The user has closed the window.
    """

    def __init__(self, options: SinkOptions, *, name: str) -> None:
        super().__init__(
            "faceblur.live.sinks.worker", options, label=options.label, name=name, slots=SLOTS
        )
        self._options = options
        self._free: deque[int] = deque()
        self._sent: dict[int, tuple[float, float | None]] = {}
        """By slot: since when it is being written, and when its frame arrived at the source."""
        self._traces: dict[int, tuple[FrameTrace, float] | None] = {}
        """By slot: what is traced, and since when it is on its way."""
        self._delay = DelayMeter()
        self._frames = 0
        self._dropped = 0
        self._state: SinkState = "starting"
        self._takes_audio = takes_audio(options)
        self._audio: AudioFormat | None = None
        self._audio_sent: AudioFormat | None = None
        self._waiting = AudioQueue()
        self.quit = False

    def due_s(self) -> float:
        """When `poll` has to be called at the latest."""
        if self._child is None:
            return self._retry_s
        return self._limit_s()

    def add_audio(self, audio: AudioFormat | None, packets: Sequence[AudioPacket]) -> None:
        """Take in audio; it goes along with the frames that are offered next."""
        if self._takes_audio:
            self._audio = audio
            self._waiting.add(packets)

    def offer(self, frame: SafeFrame, now_s: float, *, until_s: float | None = None) -> None:
        """Pass on a frame if the sink can take it now; it is counted if not.

        It is written until `until_s` at the latest, on the clock of a `Permit`.
        """
        if not isinstance(frame, SafeFrame):
            raise TypeError("only a SafeFrame may leave")
        child = self._child
        if child is None or not self._free:
            self._dropped += 1
            return
        slot, format_ = self._free.popleft(), frame.format
        self._traces[slot] = None
        if frame.trace is not None:
            frame.trace.masked(frame.faces)
            self._traces[slot] = frame.trace, time.monotonic()
        memory = child.memory.slot(slot)
        memory[: format_.size_bytes] = frame.samples
        audio = put(self._waiting.take(), memory[format_.size_bytes :])
        self._sent[slot] = (now_s, frame.arrived_s)
        try:
            self._announce_audio(child)
            child.link.send(
                kind="frame",
                slot=slot,
                **format_.to_message(),
                time_s=frame.time_s,
                arrived_s=frame.arrived_s,
                until_s=until_s,
                audio=audio,
            )
        except LinkClosedError:
            self._fail(f"{self._label}: {child.how_it_ended()}", now_s)

    def poll(self, now_s: float) -> None:
        """Take what the child says, and see to it that there is one which does its work."""
        if self._child is None:
            if now_s >= self._retry_s:
                self._open(now_s)
            return
        if not all(self._handle(each, now_s) for each in self._receive(self._child, now_s)):
            return
        if self._child is not None and now_s > self._limit_s():
            what = "does not take frames" if self.online else "does not open"
            self._fail(f"{self._label} {what} in time", now_s)

    def finish(self, *, at_end: bool) -> None:
        """Tell the child to write what it has and end; `ended` says whether it has.

        At the end of a source, one that is only just starting is not too late with what it has.
        """
        if self._child is None:
            return
        if not self.online and not (at_end and self._state == "starting" and self._sent):
            # Whatever it waits for, there is nothing to be flushed.
            self.close()
            return
        try:
            self._child.link.send(kind="finish")
        except LinkClosedError:
            self.close()

    @property
    def ended(self) -> bool:
        """Whether there is no child at work."""
        return self._child is None or self._child.ended

    def settle(self, now_s: float) -> None:
        """Count what the child has written last."""
        if self._child is not None:
            with suppress(LinkClosedError):
                all(self._handle(message, now_s) for message in self._hear(self._child))

    def close(self) -> None:
        """End the child, whatever it does."""
        super().close()
        self._state = "stopped"

    def stats(self) -> SinkStats:
        """Counters at this moment."""
        return SinkStats(
            label=self._label,
            state=self._state,
            frames=self._frames,
            dropped=self._dropped,
            restarts=max(0, self.opened - 1),
            delay=self._delay.stats(),
            last_error=self.error,
        )

    def _announce_audio(self, child: WorkerProcess) -> None:
        """Say what the audio is like, if the child does not know."""
        audio = self._audio
        if audio is not None and audio != self._audio_sent:
            child.link.send(kind="audio", **audio.to_message())
            self._audio_sent = audio

    def _open(self, now_s: float) -> bool:
        if not super()._open(now_s):
            return False
        self._free = deque(range(SLOTS))
        self._sent.clear()
        self._audio_sent = None
        self._waiting.clear()
        # One that has failed is not well before something was written.
        self._state = "waiting" if self.error else "starting"
        return True

    def _limit_s(self) -> float:
        """When the frame that is being written has to be done."""
        if not self._sent:
            return float("inf")
        oldest_s = min(sent_s for sent_s, _ in self._sent.values())
        if self.online:
            return oldest_s + self._options.write_timeout_s
        return oldest_s + self._options.open_timeout_s + START_S

    def _handle(self, message: Message, now_s: float) -> bool:
        """Act on a message; whether the child lives on."""
        kind, text = message.get("kind"), redact(str(message.get("text", "")))
        if kind == "written" and message.get("slot") in self._sent:
            _, arrived_s = self._sent.pop(message["slot"])
            if (traced := self._traces.pop(message["slot"], None)) is not None:
                trace, begun_s = traced
                trace.stage("sink", begun_s, sink=self._label)
            self._free.append(message["slot"])
            self._frames += 1
            if arrived_s is not None:
                self._delay.add(now_s - arrived_s)
            if not self.online:
                self.online = True
                self._state = "running"
                # From now on frames have the shorter deadline, those that waited included.
                self._sent = {slot: (now_s, at) for slot, (_, at) in self._sent.items()}
            return True
        if kind == "late" and message.get("slot") in self._sent:
            del self._sent[message["slot"]]
            self._free.append(message["slot"])
            self._dropped += 1
            return True
        if kind == "finished":
            return True
        if kind == "quit":
            self.quit = True
            self.close()
            return False
        self._fail(text or f"{self._label}: its process sent nonsense", now_s)
        return False

    def _fail(self, error: str, now_s: float) -> None:
        self._dropped += len(self._sent)
        self._sent.clear()
        super()._fail(error, now_s)
        self._state = "waiting"
