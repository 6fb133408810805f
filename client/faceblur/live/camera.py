"""One camera: from its source to its sinks, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from typing import Final

from faceblur.detection.detector import Detector
from faceblur.errors import FaceblurError
from faceblur.live import tracing
from faceblur.live.frames import SafeFrame
from faceblur.live.options import CameraOptions
from faceblur.live.presenter import OFFLINE, UNCHECKED, Presenter
from faceblur.live.process.messages import MessageSocket
from faceblur.live.process.wakeup import Wakeup
from faceblur.live.scheduler import IN_FLIGHT, DetectionScheduler
from faceblur.live.sharding.permit import Permit
from faceblur.live.sinks.sink import Sink
from faceblur.live.sources.source import Source
from faceblur.live.sources.worker import SourceJob
from faceblur.live.stats import CameraState, CameraStats, Counters, Status
from faceblur.redaction import redact

logger = logging.getLogger(__name__)

PLACEHOLDER_FPS: Final = 5.0
"""Pace of placeholders while no frames come."""

DETECTOR_RETRY_S: Final = 0.5
"""How often to ask whether there is a detector by now."""

GRACE_S: Final = 2.0
"""Nothing is shown for so long while a detector is being reached at the start: sinks that open for
a notice have to open again for frames of another size."""

SPARE_SLOTS: Final = 3
"""Of the source: one being written, one waiting, one being masked."""


class Camera:
    """A camera that runs until it is stopped, or until its file or its window ends.

    Nothing that happens to the source, the sinks or the detector raises here: it shows in `state`
    and `stats`.

    Args:
        options: What to do.
        detector: Shared by all cameras of a process; outlives them. It may be absent at first:
            as long as its `model` raises, the source is not opened and placeholders go out.
        permit: While it is valid frames may leave; when it is over the camera ends at once.

    Attributes:
        failed: It has ended by an error of its own.

    Raises:
        InputError: The mask's image cannot be read.
    """

    def __init__(
        self, options: CameraOptions, detector: Detector, *, permit: Permit | None = None
    ) -> None:
        self.options = options
        self._permit = permit or Permit()
        self._presenter = Presenter(options)
        self._counters = Counters()
        self._wakeup = Wakeup()
        self._scheduler = DetectionScheduler(
            detector,
            min_score=self._presenter.min_score,
            deadline_s=options.deadline_s,
            wake=self._wakeup.wake,
        )
        self._detector = detector
        self._source: Source | None = None
        self._sinks = tuple(Sink(sink, name=options.name) for sink in options.sinks)
        self._status = Status(options.name)
        self._placeholder_s = self._retry_s = 0.0
        self._opened = 0
        self.failed = False
        self._turned_s = time.monotonic()
        self._stopping, self._done = threading.Event(), threading.Event()
        self._flush_s = 5.0
        name = f"faceblur-{options.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._permit.enter()

    @property
    def state(self) -> CameraState:
        """What it is doing."""
        return self._status.state

    @property
    def idle_s(self) -> float:
        """Seconds since its loop last turned; about one at most while it is well."""
        return 0.0 if self._done.is_set() else time.monotonic() - self._turned_s

    def start(self) -> None:
        """Begin, and return at once."""
        self._turned_s = time.monotonic()
        self._thread.start()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Flush and close the sinks, and end the child processes; kill what does not end in time.

        Returns when nothing of the camera is left; the sinks have `timeout_s` to write what they
        hold. Calling it again does nothing.
        """
        self._flush_s = timeout_s
        self._stopping.set()
        self._wakeup.wake()
        if self._thread.ident is not None:
            self._thread.join()
        elif not self._done.is_set():
            self._close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it has ended, by itself or by `stop`; whether it has."""
        return self._done.wait(timeout_s)

    def stats(self) -> CameraStats:
        """Counters and state at this moment; from any thread, at any time."""
        count, source = self._counters, self._source
        lost = 0 if source is None else source.lost
        width, height = self._presenter.size if count.frames_in else (0, 0)
        fps = count.fps()
        return CameraStats(
            name=self.options.name,
            state=self.state,
            source=self.options.source.label,
            width=width,
            height=height,
            fps=fps,
            lookahead_s=self.options.lookahead_s(fps) if fps else 0.0,
            frames_in=count.frames_in + lost,
            frames_checked=count.frames_checked,
            frames_masked=count.frames_masked,
            frames_dropped=self._scheduler.dropped + lost,
            frames_held=self._presenter.held,
            frames_placeholder=count.frames_placeholder,
            frames_out=count.frames_checked + count.frames_placeholder,
            faces=count.faces,
            reconnects=0 if source is None else max(0, source.opened - 1),
            view=self._presenter.view,
            delay=count.delay.stats(),
            sinks=tuple(sink.stats() for sink in self._sinks),
            last_error=self._status.error,
            state_since_s=time.monotonic() - self._status.since_s,
        )

    def _run(self) -> None:
        try:
            while self._permit.is_valid and not (self._stopping.is_set() or self._has_ended()):
                self._wakeup.wait(self._links(), self._due_s() - time.monotonic())
                self._turn()
            self._drain()
        except Exception:
            # Nothing of this camera leaves any more; the others go on.
            self.failed = True
            logger.exception("camera %s has failed", self.options.name)
        finally:
            self._close()

    def _turn(self) -> None:
        """Do whatever there is to do at this moment."""
        now_s = self._turned_s = time.monotonic()
        for sink in self._sinks:
            sink.poll(now_s)
        if self._source is None:
            self._prepare(now_s)
        else:
            self._take(self._source, now_s)
        self._show(now_s)
        self._fill_in(now_s)

    def _prepare(self, now_s: float) -> None:
        """Open the source as soon as there is somebody to check its frames."""
        if now_s < self._retry_s:
            return
        try:
            stride = self._detector.model.stride
        except FaceblurError as error:
            self._retry_s = now_s + DETECTOR_RETRY_S
            self._status.error = redact(str(error))
            if now_s - self._status.since_s > GRACE_S or self.state != "starting":
                self._status.enter("degraded")
            return
        options = self.options
        job = SourceJob(
            source=options.source,
            hardware=options.hardware_decoding,
            fps=options.fps,
            size=options.policy.detection.size,
            stride=stride,
            tiles=options.policy.detection.tiles,
            detect_every=options.detect_every,
            capture_audio=options.audio == "keep",
        )
        slots = IN_FLIGHT * options.detect_every + options.lookahead + 1 + SPARE_SLOTS
        self._source = Source(job, name=options.name, slots=slots)

    def _take(self, source: Source, now_s: float) -> None:
        """Take in the frames that have come."""
        for frame in source.poll(now_s):
            if source.opened != self._opened:
                # Another stream, or the same after a gap: no track continues.
                self._opened = source.opened
                self._hand_over(self._presenter.restart(), now_s)
            # It goes along whatever becomes of the frame, and when it is due.
            for sink in self._sinks:
                sink.add_audio(source.audio, frame.audio)
            self._counters.count_arrival(frame.arrived_s)
            frame.trace = tracing.begin(self.options.name, frame.arrived_s)
            self._scheduler.admit(frame)
        if source.error and not source.online:
            self._status.error = source.error
            self._status.enter("offline")

    def _show(self, now_s: float) -> None:
        """Hand over the frames that were decided."""
        for verdict in self._scheduler.collect(now_s):
            if verdict.error is not None:
                self._status.error = redact(str(verdict.error))
            self._hand_over(self._presenter.present(verdict), now_s)
        online = self._source is not None and self._source.online
        if online and self._counters.frames_in:
            if self._scheduler.is_blind:
                self._status.enter("degraded")
            elif self._counters.frames_checked:
                self._status.enter("running")

    def _fill_in(self, now_s: float) -> None:
        """While no frames come, show that at a steady pace."""
        if self.state not in ("offline", "degraded") or now_s < self._placeholder_s:
            return
        if self._source is not None and self._source.online:
            return
        notice = OFFLINE if self.state == "offline" else UNCHECKED
        self._hand_over([self._presenter.stand_in(notice, time_s=now_s)], now_s)
        self._placeholder_s = now_s + 1 / PLACEHOLDER_FPS

    def _hand_over(self, frames: Iterable[SafeFrame], now_s: float) -> None:
        for frame in frames:
            for sink in self._sinks if self._permit.is_valid else ():
                sink.offer(frame, now_s, until_s=self._permit.until_s)
            self._counters.count_output(frame.faces, frame.arrived_s)
            frame.release()

    def _drain(self) -> None:
        """Show what is still being checked, then have the sinks write what they hold."""
        deadline_s = time.monotonic() + min(self.options.deadline_s, self._permit.left_s)
        while not self._scheduler.is_empty and time.monotonic() < deadline_s:
            self._wakeup.wait(self._links(), min(0.1, self._due_s() - time.monotonic()))
            for sink in self._sinks:
                sink.poll(time.monotonic())
            self._show(time.monotonic())
        at_end = self._source is not None and self._source.ended
        if at_end and self._scheduler.is_empty:
            # Else something followed that was not checked, and masks may reach back from there.
            self._hand_over(self._presenter.finish(), time.monotonic())
        if self._source is not None:
            self._source.close()
        for sink in self._sinks:
            sink.finish(at_end=at_end)
        deadline_s = time.monotonic() + min(self._flush_s, self._permit.left_s)
        while not all(sink.ended for sink in self._sinks) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        for sink in self._sinks:
            sink.settle(time.monotonic())

    def _close(self) -> None:
        for sink in self._sinks:
            sink.close()
        if self._source is not None:
            self._source.close()
        self._scheduler.close()
        self._presenter.close()
        self._wakeup.close()
        self._status.enter("stopped")
        self._permit.leave()
        self._done.set()

    def _has_ended(self) -> bool:
        at_end = self._source is not None and self._source.ended
        return at_end or any(sink.quit for sink in self._sinks)

    def _links(self) -> list[MessageSocket]:
        links = [sink.link for sink in self._sinks]
        links.append(None if self._source is None else self._source.link)
        return [link for link in links if link is not None]

    def _due_s(self) -> float:
        """When there is something to do even if nothing happens."""
        due_s = [sink.due_s() for sink in self._sinks]
        due_s.append(self._scheduler.due_s())
        due_s.append(self._retry_s if self._source is None else self._source.due_s())
        if self._source is None or not self._source.online:
            due_s.append(self._placeholder_s)
        return min(*due_s, time.monotonic() + min(1.0, self._permit.left_s))
