"""Mask a list of files, and say what happened to each."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.faces import DetectedFaces, FindFaces, RecordedFaces
from faceblur.batch.finished import CachedResult
from faceblur.batch.image import ImageOptions, mask_image
from faceblur.batch.jobs import Job, OnComplete
from faceblur.batch.memory import MemoryBudget, memory_bytes
from faceblur.batch.records import DetectorInfo, Record, Records
from faceblur.batch.shared_detector import SharedDetector, check_going
from faceblur.batch.video import Progress, mask_video
from faceblur.detection.detector import ModelInfo
from faceblur.detection.session import DetectionSession
from faceblur.detections import MediaDetections
from faceblur.errors import FaceblurError, OutputError, ServerError, exhaustion
from faceblur.masks.policy import Policy
from faceblur.proof.audit.log import AuditLog
from faceblur.schema import to_json
from faceblur.video.kinds import Kind
from faceblur.video.options import VideoOptions

logger = logging.getLogger(__name__)

OnProgress = Callable[[Job, Progress], None]

_POLL_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What is masked in a list of files, and how.

    Attributes:
        workers: Files that are masked at the same time, at most.
        again: Mask files too whose results are finished.
        audit: Where the manifest of each result goes; None for nowhere.
        names_tracks: Whether reports say which track of a video a face is of; see `DetectedFaces`.
    """

    policy: Policy = field(default_factory=Policy)
    image: ImageOptions = field(default_factory=ImageOptions)
    video: VideoOptions = field(default_factory=VideoOptions)
    workers: int = 1
    again: bool = False
    audit: AuditLog | None = None
    names_tracks: bool = True

    def settings(self) -> dict[Kind, dict[str, Any]]:
        """All that decides what is masked and how it is written, in values that JSON has."""
        policy, writing = to_json(self.policy), to_json(self.video)
        # Whatever decodes, the frames are the same.
        del writing["hardware_decoding"]
        return {
            "image": {"policy": policy, "writing": dataclasses.asdict(self.image)},
            "video": {"policy": policy, "writing": writing},
        }


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened to one file.

    Attributes:
        elapsed_s: Seconds it took.
        report: What was found in it; None when it was not masked in this run.
        finished: The note of its result, when that was finished before this run.
        error: Why it failed; None when it did not.
    """

    job: Job
    elapsed_s: float
    report: MediaDetections | None = None
    finished: CachedResult | None = None
    error: FaceblurError | None = None

    @property
    def faces(self) -> int:
        """Masked faces in all frames."""
        if self.report is not None:
            return sum(len(frame.detections) for frame in self.report.frames)
        return self.finished.faces if self.finished is not None else 0

    @property
    def frames(self) -> int:
        """Checked frames."""
        if self.report is not None:
            return len(self.report.frames)
        return self.finished.frames if self.finished is not None else 0


def run(
    jobs: Sequence[Job],
    finder: DetectionSession | AnnotationFile,
    options: RunOptions,
    *,
    on_progress: OnProgress | None = None,
) -> Generator[Outcome, None, None]:
    """Mask files; one that fails never stops the rest.

    After a server failed, files wait until it is back. When it does not come back, the files
    that are left fail with the same error, at once.

    Returns:
        What happened to each, as soon as it is known; with several workers not in the order of
        the jobs. Close it to break off: whatever is not finished then does not appear.
    """
    batch = _Batch(jobs, finder, options, on_progress)
    with batch.records:
        workers = min(options.workers, len(jobs))
        if workers <= 1:
            yield from map(batch.attempt, jobs)
        else:
            yield from _parallel(batch, jobs, workers)


def _parallel(batch: _Batch, jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    pool = ThreadPoolExecutor(workers, thread_name_prefix="faceblur-file")
    try:
        pending = {pool.submit(batch.attempt, job) for job in jobs}
        while pending:
            # A signal that another thread happens to receive does not wake this one.
            done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        batch.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


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


class _Batch:
    """Files that are masked in one way.

    Attributes:
        stop: When it is set, every file fails at its next frame.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        finder: DetectionSession | AnnotationFile,
        options: RunOptions,
        on_progress: OnProgress | None,
    ) -> None:
        self.stop = threading.Event()
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
        self.records = Records(jobs, finder=info, settings=settings, audit=options.audit)

    def attempt(self, job: Job) -> Outcome:
        """Mask one file, or find that it is finished."""
        self._await_server()
        started = time.monotonic()

        def outcome(**what: Any) -> Outcome:
            return Outcome(job=job, elapsed_s=time.monotonic() - started, **what)

        try:
            check_going(self.stop)
            record = self.records.begin(job)
            if record is not None and not self._options.again:
                finished = record.finished()
                if finished is not None:
                    return outcome(finished=finished)
            if self._lost is not None:
                return outcome(error=self._lost)
            with self._room(job):
                started = time.monotonic()
                return outcome(report=self._mask(job, record))
        except ServerError as error:
            self._broken = error
            return outcome(error=error)
        except FaceblurError as error:
            return outcome(error=error)
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = exhaustion(error)
            if sentence is None:
                raise
            return outcome(error=FaceblurError(f"cannot mask {job.source}: {sentence}"))

    def _mask(self, job: Job, record: Record | None) -> MediaDetections:
        try:
            job.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {job.output.parent}: {error.strerror}; choose another"
            ) from error

        def tell(progress: Progress) -> None:
            check_going(self.stop)
            if self._on_progress is not None:
                self._on_progress(job, progress)

        report = process_file(
            job,
            self._faces_for(lambda: tell(Progress(0, None))),
            self._options,
            on_progress=tell,
            on_complete=None if record is None else record.seal,
        )
        if record is not None:
            record.note()
        return report

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
