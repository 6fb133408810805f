"""What masks files on one machine of a cluster; it knows nothing of Ray."""

from __future__ import annotations

import hmac
import importlib.metadata
import logging
import os
import secrets
import sys
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from faceblur.batch.annotation_format import hashed
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.attempts import Batch
from faceblur.batch.jobs import AnyJob
from faceblur.batch.memory import default_workers
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.video import Progress
from faceblur.cluster.landmarks import folder_of
from faceblur.detection.detector import ModelInfo
from faceblur.detection.models import Media
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.detection.triton.loopback import keep_proxies_away
from faceblur.detections import MediaDetections
from faceblur.errors import FaceblurError, InputError, ServerError
from faceblur.proof.audit.chains import ChainPlace
from faceblur.proof.audit.manifest import KEY_VARIABLE
from faceblur.proof.audit.reader import environment_key
from faceblur.redaction import RedactingFilter, redact
from faceblur.stores.faults import is_lasting

logger = logging.getLogger(__name__)

VERSION: Final = importlib.metadata.version("faceblur-triton")


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What all workers of a run have in common; it can be pickled, and holds no secret.

    Attributes:
        options: Without an audit, and with the files that a worker masks at the same time; 0
            for what suits its machine.
        media: What is masked, which decides the model where none is named.
        boxes: The faces, where none are to be found.
        reports: Whether results hold the faces.
        chains: Where the worker begins a chain of the audit; None for no audit.
        key_mark: Tells whether a worker has the same key for the audit; None without one.
        landmarks: Files that must be there: they show that a machine sees the same folders as the
            others.
        version: Of faceblur.
        level: Of the log.
    """

    options: RunOptions
    session: SessionOptions
    size: int
    media: Media
    boxes: AnnotationFile | None = None
    reports: bool = False
    chains: ChainPlace | None = None
    key_mark: str | None = None
    landmarks: tuple[Path, ...] = ()
    version: str = VERSION
    level: int = logging.WARNING


@dataclass(frozen=True)
class WorkerFacts:
    """A worker that is ready.

    Attributes:
        pid: Of its process.
        files: How many it masks at the same time.
        detector: What finds the faces there, for a person.
        model: The same, exactly; None if nobody knows.
    """

    pid: int
    files: int
    detector: str
    model: ModelInfo | None = None


@dataclass(frozen=True)
class Failure:
    """Why a file or a worker failed.

    Attributes:
        is_certain: It would fail in the same way on the same machine.
        is_server: The worker's detector failed: it may fail with the next file too.
        exit_code: Of the error.
    """

    reason: str
    is_certain: bool = False
    is_server: bool = False
    exit_code: int = FaceblurError.exit_code

    @classmethod
    def of(cls, error: FaceblurError) -> Failure:
        """What can be said of an error elsewhere."""
        return cls(
            redact(str(error)),
            is_certain=is_lasting(error),
            is_server=isinstance(error, ServerError),
            exit_code=error.exit_code,
        )


@dataclass(frozen=True, kw_only=True)
class FileResult:
    """What happened to one file: what an `Outcome` says, in little.

    Attributes:
        elapsed_s: Seconds it took.
        report: The faces, which are many: only where they are asked for.
        model: What found them, or would have; None if nobody knows.
        skipped: It was finished before.
        lacking: How many parts of the source are not in the result; notes are warnings of it.
    """

    elapsed_s: float
    faces: int = 0
    frames: int = 0
    skipped: bool = False
    lacking: int = 0
    notes: int = 0
    failure: Failure | None = None
    report: MediaDetections | None = None
    model: ModelInfo | None = None

    @classmethod
    def of(cls, outcome: Outcome) -> FileResult:
        """Sum an outcome up."""
        report, error = outcome.report, outcome.error
        return cls(
            elapsed_s=outcome.elapsed_s,
            faces=outcome.faces,
            frames=outcome.frames,
            skipped=outcome.finished is not None,
            lacking=0 if report is None else len(report.left_out),
            notes=0 if report is None else len(report.notes),
            failure=None if error is None else Failure.of(error),
        )


class Worker:
    """Masks files with a detector of its own; every method may be called from any thread."""

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._reports = False
        self._model: ModelInfo | None = None
        self._cleanup = ExitStack()
        self._shares: dict[AnyJob, float] = {}

    def open(
        self, setup: WorkerSetup, covered: Collection[bytes], cores: slice | None
    ) -> WorkerFacts | Failure:
        """Get ready.

        Args:
            setup: What to do.
            covered: What has its manifest in the audit.
            cores: Which of the machine's cores are this worker's; None for all.
        """
        _log_to_stderr(setup.level)
        keep_proxies_away()
        try:
            if cores is not None:
                _pin(cores)
            _check(setup)
            files = setup.options.workers or default_workers()
            log = None
            if setup.chains is not None:
                log = setup.chains.begin(key=environment_key(), covered=covered)
            writer = secrets.token_hex(8)
            options = replace(setup.options, workers=files, audit=log, writer=writer)
            finder = setup.boxes or self._cleanup.enter_context(
                open_session(setup.session, size=setup.size, media=setup.media)
            )
            batch = Batch(finder, options, on_progress=self._tell)
            self._batch = self._cleanup.enter_context(batch)
        except FaceblurError as error:
            self.close()
            return Failure.of(error)
        self._reports, self._model = setup.reports, finder.model
        return WorkerFacts(os.getpid(), files, _name(finder), finder.model)

    def attempt(self, job: AnyJob) -> FileResult:
        """Mask one file, or find that it is finished."""
        if self._batch is None:
            raise RuntimeError("the worker is not open")
        started = time.monotonic()
        try:
            outcome = self._batch.attempt(job)
            result = replace(FileResult.of(outcome), model=self._model)
            if not self._reports or outcome.report is None:
                return result
            return replace(result, report=hashed(outcome.report))
        except FaceblurError as error:
            return FileResult(elapsed_s=time.monotonic() - started, failure=Failure.of(error))
        # Only this file fails of what nobody has thought of; the traceback is in the log.
        except Exception as error:
            logger.exception("cannot mask %s", job.source)
            failure = Failure(f"cannot mask {job.source}: {type(error).__name__}")
            return FileResult(elapsed_s=time.monotonic() - started, failure=failure)
        finally:
            self._shares.pop(job, None)

    def shares(self) -> float:
        """How much of the files under way is done, in files."""
        return sum(list(self._shares.values()))

    def close(self) -> None:
        """Break off what is under way, and stop the detector."""
        self._cleanup.close()

    def _tell(self, job: AnyJob, progress: Progress) -> None:
        if progress.total:
            self._shares[job] = min(progress.done / progress.total, 1.0)


def _name(finder: AnnotationFile | DetectionSession) -> str:
    """What gives the faces, for a person."""
    if isinstance(finder, AnnotationFile):
        return f"boxes of {finder.path}"
    return f"{finder.model.name} model, {finder.where}"


def key_mark(key: bytes | None, audit: str) -> str | None:
    """What shows whether two have the same key, without telling it."""
    return (
        None if key is None else hmac.new(key, f"same key {audit}".encode(), "sha256").hexdigest()
    )


def _check(setup: WorkerSetup) -> None:
    """Refuse to work where results would not be what they are elsewhere.

    Raises:
        InputError: This machine lacks something; the sentence says what.
    """
    if setup.version != VERSION:
        raise InputError(
            f"it has faceblur {VERSION}, not {setup.version}: install the same on all machines"
        )
    for landmark in setup.landmarks:
        try:
            is_there = landmark.exists()
        except OSError:
            is_there = False
        if not is_there:
            raise InputError(
                f"it does not see {folder_of(landmark)} as it is elsewhere: mount it on all "
                "machines under the same path, or give addresses such as s3://bucket/folder"
            )
    if setup.chains and setup.key_mark != key_mark(environment_key(), setup.chains.audit):
        raise InputError(
            f"it has not the key of the audit: set {KEY_VARIABLE} to the same on all machines"
        )


def _pin(cores: slice) -> None:
    """Keep this process to some of its cores, with all threads and what it starts."""
    if not hasattr(os, "sched_setaffinity"):
        return
    chosen = sorted(os.sched_getaffinity(0))[cores]
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), chosen)
        except OSError:
            logger.debug("a thread ended while it was pinned")


def _log_to_stderr(level: int) -> None:
    """Ray keeps what is written there in its files: no secret may be in it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("faceblur: %(message)s"))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger("faceblur")
    root.handlers, root.level = [handler], level
