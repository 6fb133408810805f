"""One camera of a browser: images come in one by one, and go back masked or not at all.

What masks them is what masks any other live camera.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final

from faceblur.detection.session import DetectionSession
from faceblur.errors import InputError, ServerError
from faceblur.image.jpeg import jpeg
from faceblur.live.frames import RawFrame, SafeFrame
from faceblur.live.options import CameraOptions
from faceblur.live.presenter import Presenter
from faceblur.live.process.wakeup import Wakeup
from faceblur.live.scheduler import CheckedFrame, DetectionScheduler
from faceblur.live.sinks.options import SinkOptions
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.preparation import Preparer
from faceblur.live.sources.readers import DecodedFrame
from faceblur.live.sources.snapshots import decode
from faceblur.masks.policy import Policy
from faceblur.redaction import redact

logger = logging.getLogger(__name__)

DEADLINE_S: Final = 2.0
"""From the arrival of an image to the detector's answer. Files may be masked beside it."""

MAX_PIXELS: Final = 1920 * 1088
_MAX_QUEUE: Final = 4
_QUALITY: Final = 85
_LOOK_PAUSE_S: Final = 0.5
_LONGEST_WAIT_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What comes back for an image.

    Attributes:
        image: A masked one as JPEG, of this moment or of one before; None if none is due, or none
            may be shown.
        faces: Masks on it.
        behind_s: By how much it is older than the image that it answers.
        withheld: Why nothing may be shown; empty if something may.
    """

    image: bytes | None = None
    faces: int = 0
    behind_s: float = 0.0
    withheld: str = ""


@dataclass(frozen=True, eq=False)
class _Asked:
    """An image that has come, and who waits for what comes back."""

    number: int
    data: bytes
    arrived_s: float
    answer: Future[Answer]


class Webcam:
    """Masks the images of one browser in a thread of its own, until it is closed.

    Args:
        policy: What is masked and how.
        lookahead: Images by which what comes back lags behind; see `CameraOptions`.
        session: An open detector, which others may use beside it.

    Attributes:
        asked_s: When an image last came, on the monotonic clock.

    Raises:
        InputError: The policy is none for cameras.
    """

    def __init__(self, policy: Policy, session: DetectionSession, *, lookahead: int) -> None:
        options = CameraOptions(
            name="camera",
            source=SourceOptions(kind="webcam", url="browser"),
            sinks=(SinkOptions(kind="null"),),
            policy=policy,
            lookahead=lookahead,
            deadline_s=DEADLINE_S,
        )
        self._session = session
        self._presenter = Presenter(options)
        detection = policy.detection
        self._preparer = Preparer(
            size=detection.size, stride=session.model.stride, tiles=detection.tiles
        )
        self._wakeup = Wakeup()
        self._scheduler = DetectionScheduler(
            session.detector,
            min_score=self._presenter.min_score,
            deadline_s=options.deadline_s,
            wake=self._wakeup.wake,
        )
        self._incoming: SimpleQueue[_Asked] = SimpleQueue()
        self._open: dict[RawFrame, _Asked] = {}
        self._newest = -1
        self._clock_s = 0.0
        self._looked_s = 0.0
        self.asked_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faceblur-webcam", daemon=True)
        self._thread.start()

    def offer(self, number: int, data: bytes) -> Future[Answer]:
        """Take the next image, as the browser encoded it; from any thread.

        Args:
            number: Rises from image to image; one that comes after a later one is left out.
            data: JPEG, or what else `faceblur.live.sources.snapshots.decode` takes.

        Returns:
            What comes back. It fails with an `InputError` if that is no image.
        """
        self.asked_s = time.monotonic()
        asked = _Asked(number, data, self.asked_s, Future())
        if self._stopping.is_set() or self._incoming.qsize() >= _MAX_QUEUE:
            asked.answer.set_result(Answer())
            return asked.answer
        self._incoming.put(asked)
        self._wakeup.wake()
        return asked.answer

    @property
    def ended(self) -> bool:
        """Whether nothing comes back any more."""
        return self._stopping.is_set()

    def close(self) -> None:
        """End it; whoever waits gets nothing."""
        self._stopping.set()
        self._wakeup.wake()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                wait_s = min(_LONGEST_WAIT_S, self._scheduler.due_s() - time.monotonic())
                self._wakeup.wait((), wait_s)
                self._take()
                for verdict in self._scheduler.collect(time.monotonic()):
                    self._present(verdict)
        except Exception:
            # Nothing comes back any more, and the page says so.
            logger.exception("the camera of the page has failed")
        finally:
            self._end()

    def _take(self) -> None:
        while not self._stopping.is_set():
            try:
                asked = self._incoming.get_nowait()
            except Empty:
                return
            if asked.number <= self._newest:
                _settle(asked, Answer())
                continue
            self._newest = asked.number
            try:
                frame = self._frame(asked)
            except InputError as mistake:
                with suppress(InvalidStateError):
                    asked.answer.set_exception(mistake)
                continue
            self._open[frame] = asked
            self._scheduler.admit(frame)

    def _frame(self, asked: _Asked) -> RawFrame:
        image = decode(asked.data)
        if image.width * image.height > MAX_PIXELS:
            raise InputError(f"{image.width} × {image.height} pixels are too many for a camera")
        # Two cannot be of one moment.
        self._clock_s = max(self._clock_s + 1e-4, asked.arrived_s)
        frame: RawFrame

        def left_out() -> None:
            if (waiting := self._open.pop(frame, None)) is not None:
                _settle(waiting, Answer())

        decoded = DecodedFrame(image, arrived_s=self._clock_s, time_s=self._clock_s)
        frame = self._preparer.raw_frame(decoded, on_release=left_out)
        return frame

    def _present(self, verdict: CheckedFrame) -> None:
        asked = self._open.pop(verdict.frame, None)
        arrived_s = verdict.frame.arrived_s
        due = list(self._presenter.present(verdict))
        if asked is not None:
            _settle(asked, self._answer(due[-1], arrived_s) if due else Answer())
        for frame in due:
            frame.release()
        if isinstance(verdict.error, ServerError):
            self._look()

    def _answer(self, frame: SafeFrame, arrived_s: float) -> Answer:
        if frame.arrived_s is None:
            return Answer(withheld=redact(str(self._scheduler.error)))
        return Answer(
            image=jpeg(frame.format.bgr(frame.samples), quality=_QUALITY),
            faces=frame.faces,
            behind_s=arrived_s - frame.arrived_s,
        )

    def _look(self) -> None:
        """Have the detector checked: that brings back one that was started here."""
        now_s = time.monotonic()
        if now_s - self._looked_s > _LOOK_PAUSE_S:
            self._looked_s = now_s
            self._session.detector.look()

    def _end(self) -> None:
        self._stopping.set()
        self._scheduler.close()
        self._presenter.close()
        while True:
            try:
                _settle(self._incoming.get_nowait(), Answer())
            except Empty:
                break
        for asked in self._open.values():
            _settle(asked, Answer())
        self._open.clear()
        self._wakeup.close()


def _settle(asked: _Asked, answer: Answer) -> None:
    # Whoever waited may have gone.
    with suppress(InvalidStateError):
        asked.answer.set_result(answer)
