"""Mask one file after the other with one detector, and know what is finished."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.faces import DetectedFaces, FindFaces, RecordedFaces
from faceblur.batch.finished import CachedResult
from faceblur.batch.image import mask_image
from faceblur.batch.jobs import AnyJob, Job, OnComplete, StoredJob
from faceblur.batch.memory import MemoryBudget, memory_bytes
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.records import DetectorInfo, Record, Records
from faceblur.batch.shared_detector import SharedDetector, check_going
from faceblur.batch.transfers import Transfers, Visit
from faceblur.batch.video import Progress, mask_video
from faceblur.detection.detector import ModelInfo
from faceblur.detection.session import DetectionSession
from faceblur.detections import MediaDetections
from faceblur.errors import FaceblurError, OutputError, ServerError, exhaustion
from faceblur.schema.conversion import to_json

logger = logging.getLogger(__name__)

OnProgress = Callable[[AnyJob, Progress], None]


def process_file(
    job: Job,
    find_faces: FindFaces,
    options: RunOptions,
    *,
    on_progress: Callable[[Progress], None],
    on_complete: OnComplete | None,
) -> MediaDetections:
    """Mask one file of either kind.

    Raises:
        FaceblurError: It could not be masked; its result does not appear.
    """
    if job.kind == "image":
        return mask_image(
            job.source,
            job.output,
            find_faces=find_faces,
            policy=options.policy,
            options=options.image,
            on_complete=on_complete,
        )
    return mask_video(
        job.source,
        job.output,
        find_faces=find_faces,
        policy=options.policy,
        options=options.video,
        on_progress=on_progress,
        on_complete=on_complete,
    )


class _Clock:
    """How long a file takes, from when it is its turn."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._started = time.monotonic()

    def outcome(
        self,
        job: AnyJob,
        *,
        report: MediaDetections | None = None,
        finished: CachedResult | None = None,
        error: FaceblurError | None = None,
    ) -> Outcome:
        """What happened to the file."""
        elapsed_s = time.monotonic() - self._started
        return Outcome(job=job, elapsed_s=elapsed_s, report=report, finished=finished, error=error)


class Batch:
    """Files that are masked in one way; a context manager, safe to use from threads.

    Args:
        finder: What finds the faces, or a list of them.
        options: What is masked, and how.
        jobs: The files, as far as they are known: what is left of unfinished results of them is
            removed.
        on_progress: Called after each frame of a video.

    Attributes:
        stop: When it is set, every file fails at its next frame, and every transfer ends.
    """

    def __init__(
        self,
        finder: DetectionSession | AnnotationFile,
        options: RunOptions,
        jobs: Sequence[AnyJob] = (),
        on_progress: OnProgress | None = None,
    ) -> None:
        self.stop = threading.Event()
        self._transfers = Transfers(self.stop)
        self._options = options
        self._on_progress = on_progress
        self._budget = MemoryBudget()
        self._recovering = threading.Lock()
        self._broken: ServerError | None = None
        self._lost: ServerError | None = None
        self._faces_for: Callable[[Callable[[], None]], FindFaces]
        self._recover: Callable[[], bool] = lambda: True
        settings = options.settings()
        if isinstance(finder, AnnotationFile):
            self._faces_for = lambda on_frame: RecordedFaces(finder, on_frame=on_frame)
            model = finder.model or ModelInfo("unknown", "")
            info = DetectorInfo(model=model, kind="boxes", tools={})
            for values in settings.values():
                values["boxes"] = {"sha256": finder.sha256}
                if finder.choice is not None:
                    values["boxes"] |= finder.choice.to_json()
                if finder.added:
                    values["boxes"]["corrections"] = to_json(finder.added)
        else:
            shared = SharedDetector(finder.detector, in_flight=finder.in_flight, stop=self.stop)

            def recover() -> bool:
                with shared.paused():
                    return finder.recovered(stop=self.stop)

            detected = DetectedFaces(shared, options.policy, names_tracks=options.names_tracks)
            self._faces_for = lambda _: detected
            self._recover = recover
            info = DetectorInfo(model=finder.model, kind=finder.kind, tools=finder.tools)
        self._records = Records(
            jobs, finder=info, settings=settings, audit=options.audit, writer=options.writer
        )

    def __enter__(self) -> Batch:
        self._records.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop.set()
        self._transfers.__exit__(*exc_info)
        self._records.__exit__(*exc_info)

    def wait_again(self) -> None:
        """After the server was lost: have the next file wait for it, as long as the first did."""
        with self._recovering:
            self._broken, self._lost = self._lost or self._broken, None

    def attempt(self, job: AnyJob) -> Outcome:
        """Mask one file, or find that it is finished."""
        self._await_server()
        clock = _Clock()
        try:
            check_going(self.stop)
            if not isinstance(job, StoredJob):
                return self._attempt_here(job, Visit(job), clock)
            finished = None if self._options.again else self._records.known(job)
            if finished is not None:
                return clock.outcome(job, finished=finished)
            if self._lost is not None:
                return clock.outcome(job, error=self._lost)
            with self._transfers.here(job) as visit:
                return self._attempt_here(job, visit, clock)
        except ServerError as error:
            self._broken = error
            return clock.outcome(job, error=error)
        except FaceblurError as error:
            return clock.outcome(job, error=error)
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = exhaustion(error)
            if sentence is None:
                raise
            said = FaceblurError(f"cannot mask {job.source}: {sentence}")
            return clock.outcome(job, error=said)

    def _attempt_here(self, job: AnyJob, visit: Visit, clock: _Clock) -> Outcome:
        record = self._records.begin(visit.job, visit.stored)
        if record is not None and not self._options.again:
            finished = record.finished()
            if finished is not None:
                return clock.outcome(job, finished=finished)
        if self._lost is not None:
            return clock.outcome(job, error=self._lost)
        with self._room(visit.job):
            clock.start()
            report = self._mask(job, visit.job, record)
        output = visit.deliver()
        if record is not None:
            record.note(source=visit.source, output=output)
        sha256 = None if record is None else record.source_sha256
        return clock.outcome(job, report=visit.named(report, sha256))

    def _mask(self, job: AnyJob, here: Job, record: Record | None) -> MediaDetections:
        try:
            here.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {here.output.parent}: {error.strerror}; choose another"
            ) from error

        def tell(progress: Progress) -> None:
            check_going(self.stop)
            if self._on_progress is not None:
                self._on_progress(job, progress)

        return process_file(
            here,
            self._faces_for(lambda: tell(Progress(0, None))),
            self._options,
            on_progress=tell,
            on_complete=None if record is None else record.seal,
        )

    def _room(self, job: Job) -> AbstractContextManager[None]:
        """Memory for a file; one after the other, each may take what it needs."""
        if self._options.workers <= 1:
            return nullcontext()
        return self._budget.room_for(memory_bytes(job))

    def _await_server(self) -> None:
        """After a file failed for the server's sake: wait until it is back, or lost for good."""
        with self._recovering:
            if self._broken is None or self._lost is not None:
                return
            logger.warning("waiting for the server to come back")
            self._lost = None if self._recover() else self._broken
            self._broken = None
