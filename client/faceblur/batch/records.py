"""What is kept of each result: its manifest in the audit, and the note that it is finished."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faceblur.batch.finished import CachedResult, CacheKey, OutputLock, ResultCache
from faceblur.batch.jobs import Job
from faceblur.detection.detector import ModelInfo
from faceblur.detections import MediaDetections
from faceblur.errors import InputError
from faceblur.files import canonical_sha256, file_sha256
from faceblur.proof.audit import facts as audit_facts
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.manifest import FileFacts, Manifest
from faceblur.video.kinds import Kind

Settings = Mapping[Kind, Mapping[str, Any]]
"""All that decides what is masked and how it is written, for each kind of file."""


@dataclass(frozen=True, kw_only=True)
class DetectorInfo:
    """What finds the faces, as a manifest names it.

    Attributes:
        kind: Where it runs.
        tools: Versions of what it runs on.
    """

    model: ModelInfo
    kind: str
    tools: Mapping[str, str]


class Records:
    """What is kept of the results of one run; a context manager, safe to call from threads.

    Args:
        finder: What finds the faces.
        settings: In values that JSON has.
        audit: Where manifests go; None for nowhere.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        *,
        finder: DetectorInfo,
        settings: Settings,
        audit: AuditLog | None,
    ) -> None:
        self.finder = finder
        self.audit = audit
        self.settings = {
            kind: audit_facts.without_folders(values) for kind, values in settings.items()
        }
        self.digests = {kind: canonical_sha256(values) for kind, values in self.settings.items()}
        self.version = importlib.metadata.version("faceblur-triton")
        self._outputs: dict[Path, list[Path]] = {}
        for job in jobs:
            if job.tree is not None:
                self._outputs.setdefault(job.tree, []).append(job.output)
        self._locks = [OutputLock(tree) for tree in self._outputs]
        self._trees: dict[Path, ResultCache] = {}
        self._opening = threading.Lock()

    def begin(self, job: Job) -> Record | None:
        """Begin the record of a file; None where nothing is kept.

        Raises:
            InputError: The file cannot be read.
        """
        if job.tree is None and self.audit is None:
            return None
        return Record(self, job)

    def tree(self, folder: Path) -> ResultCache:
        """The notes of a tree of results."""
        with self._opening:
            if folder not in self._trees:
                self._trees[folder] = ResultCache(folder)
            return self._trees[folder]

    def __enter__(self) -> Records:
        for lock, outputs in zip(self._locks, self._outputs.values(), strict=True):
            lock.acquire(outputs)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for lock in self._locks:
            lock.release()


class Record:
    """What is kept of one result.

    Raises:
        InputError: The file cannot be read.
    """

    def __init__(self, records: Records, job: Job) -> None:
        self._records = records
        self._job = job
        self._tree = None if job.tree is None else records.tree(job.tree)
        self._started = datetime.now(timezone.utc)
        self._size_and_times = self._state()
        self._ingredients = CacheKey(
            source_sha256=file_sha256(job.source),
            settings_sha256=records.digests[job.kind],
            model_sha256=records.finder.model.sha256,
            version=records.version,
        )
        self._output_sha256 = ""
        self._tally = (0, 0)

    def finished(self) -> CachedResult | None:
        """The note of the result, if it needs no work.

        Where an audit is kept, that holds the result's manifest too.

        Raises:
            OutputError: The result is there, but cannot be read.
        """
        audit = self._records.audit
        if self._tree is None:
            return None
        note = self._tree.find(self._job.output, self._ingredients)
        if note is None or audit is None:
            return note
        covered = audit.covers(
            source=note.ingredients.source_sha256,
            output=note.output_sha256,
            settings=note.ingredients.settings_sha256,
            model=note.ingredients.model_sha256,
        )
        return note if covered else None

    def seal(self, temporary: Path, report: MediaDetections) -> None:
        """Write the manifest, before the result appears: none ever stands without.

        A run that is killed in between leaves a manifest of a result that is not there, and
        that is made again.

        Raises:
            InputError: The source was changed while it was read, or somebody broke the audit.
            OutputError: The manifest cannot be written.
        """
        if self._state() != self._size_and_times:
            raise InputError(
                f"{self._job.source} was changed while it was read; mask it again when it is "
                "complete"
            )
        self._output_sha256 = file_sha256(temporary)
        tally = audit_facts.tally(report)
        self._tally = tally.faces, tally.checked
        records, job = self._records, self._job
        if records.audit is None:
            return
        manifest = Manifest(
            source=FileFacts(
                name=job.source_name,
                sha256=self._ingredients.source_sha256,
                size_bytes=self._size_and_times[0],
            ),
            output=FileFacts(
                name=job.output_name,
                sha256=self._output_sha256,
                size_bytes=temporary.stat().st_size,
            ),
            kind=job.kind,
            width=report.width,
            height=report.height,
            model=records.finder.model,
            detector=records.finder.kind,
            settings=records.settings[job.kind],
            settings_sha256=self._ingredients.settings_sha256,
            frames=tally,
            started=self._started,
            ended=datetime.now(timezone.utc),
            tools=audit_facts.tools(records.finder.tools),
            platform=audit_facts.system(),
            tracks=audit_facts.track_tallies(report),
        )
        records.audit.append(manifest, report.frames, report.unmasked)

    def note(self) -> None:
        """Note that the result has appeared."""
        if self._tree is not None:
            faces, frames = self._tally
            self._tree.add(
                self._job.output,
                self._ingredients,
                output_sha256=self._output_sha256,
                faces=faces,
                frames=frames,
            )

    def _state(self) -> tuple[int, int, int]:
        """What changes when somebody writes to the source."""
        try:
            facts = self._job.source.stat()
        except OSError as error:
            raise InputError(f"cannot read {self._job.source}: {error.strerror}") from error
        return facts.st_size, facts.st_mtime_ns, facts.st_ino
