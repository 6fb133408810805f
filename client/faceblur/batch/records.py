"""What is kept of each result: its manifest in the audit, and the note that it is finished."""

from __future__ import annotations

import importlib.metadata
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from faceblur.batch.finished import (
    CachedResult,
    CacheKey,
    Notes,
    OutputLock,
    ResultCache,
    StoredNotes,
)
from faceblur.batch.found import Place
from faceblur.batch.jobs import AnyJob, Job, StoredJob
from faceblur.batch.unchanged import is_source_of, is_there
from faceblur.detection.detector import ModelInfo
from faceblur.detections import MediaDetections
from faceblur.errors import InputError
from faceblur.files import canonical_sha256, file_sha256
from faceblur.proof.audit import facts as audit_facts
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.manifest import FileFacts, Manifest
from faceblur.stores.address import Address
from faceblur.stores.store import Entry
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
        writer: See `RunOptions`.
    """

    def __init__(
        self,
        jobs: Iterable[AnyJob],
        *,
        finder: DetectorInfo,
        settings: Settings,
        audit: AuditLog | None,
        writer: str = "",
    ) -> None:
        self.finder = finder
        self._writer = writer
        self.audit = audit
        self.settings = {
            kind: audit_facts.without_folders(values) for kind, values in settings.items()
        }
        self.digests = {kind: canonical_sha256(values) for kind, values in self.settings.items()}
        self.version = importlib.metadata.version("faceblur-triton")
        outputs: dict[Path, list[Path]] = {}
        for job in jobs:
            if isinstance(job.tree, Path) and isinstance(job.output, Path):
                outputs.setdefault(job.tree, []).append(job.output)
        self._locks = [OutputLock(tree, those) for tree, those in outputs.items()]
        self._trees: dict[Place, Notes] = {}
        self._opening = threading.Lock()

    def begin(self, job: Job, stored: StoredJob | None = None) -> Record | None:
        """Begin the record of a file; None where nothing is kept.

        Args:
            job: The file as it is here.
            stored: Where it comes from and its result goes, if one of them is a store.

        Raises:
            InputError: The file cannot be read.
        """
        if (stored or job).tree is None and self.audit is None:
            return None
        return Record(self, job, stored)

    def notes_of(self, job: AnyJob) -> Notes | None:
        """The notes of the tree that a result goes to; None for a single file."""
        tree = job.tree
        if tree is None:
            return None
        with self._opening:
            if tree not in self._trees:
                self._trees[tree] = (
                    StoredNotes(tree)
                    if isinstance(tree, Address)
                    else ResultCache(tree, self._writer)
                )
            return self._trees[tree]

    def note_of(self, job: AnyJob) -> CachedResult | None:
        """The note of a result, whatever it was made of; None where the result is known to be gone.

        Raises:
            InputError: It cannot be read.
        """
        gone = isinstance(job, StoredJob) and isinstance(job.output, Address) and not job.present
        notes = self.notes_of(job)
        return None if notes is None or gone else notes.note_of(job.output_name)

    def known(self, job: StoredJob) -> CachedResult | None:
        """The note of a result that needs no work, as far as the stores say without a transfer.

        Raises:
            InputError: A store or the source cannot be read.
            OutputError: The result is there, but cannot be read.
        """
        note = self.note_of(job)
        if note is None or not is_source_of(note, job):
            return None
        ingredients = self.ingredients(note.ingredients.source_sha256, job.kind)
        return note if self.holds(note, ingredients, job) else None

    def ingredients(self, source_sha256: str, kind: Kind) -> CacheKey:
        """All that would decide what a result holds that is made now."""
        return CacheKey(
            source_sha256=source_sha256,
            settings_sha256=self.digests[kind],
            model_sha256=self.finder.model.sha256,
            version=self.version,
        )

    def holds(self, note: CachedResult, ingredients: CacheKey, job: AnyJob) -> bool:
        """Whether a note is of a result that is made of this, and is there unchanged.

        Where an audit is kept, that holds the result's manifest too.

        Raises:
            OutputError: The result is there, but cannot be read.
        """
        if not note.is_of(ingredients) or not is_there(note, job):
            return False
        return self.audit is None or self.audit.covers(
            source=note.ingredients.source_sha256,
            output=note.output_sha256,
            settings=note.ingredients.settings_sha256,
            model=note.ingredients.model_sha256,
        )

    def __enter__(self) -> Records:
        for lock in self._locks:
            lock.acquire()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for lock in self._locks:
            lock.release()


class Record:
    """What is kept of one result.

    Raises:
        InputError: The file cannot be read.
    """

    def __init__(self, records: Records, job: Job, stored: StoredJob | None = None) -> None:
        self._records = records
        self._job = job
        self._names: AnyJob = stored or job
        self._notes = records.notes_of(self._names)
        self._started = datetime.now(timezone.utc)
        self._size_and_times = self._state()
        self._ingredients = records.ingredients(file_sha256(job.source), job.kind)
        self._output_sha256 = ""
        self._tally = (0, 0)

    @property
    def source_sha256(self) -> str:
        """Of the source's content, hexadecimal."""
        return self._ingredients.source_sha256

    def finished(self) -> CachedResult | None:
        """The note of the result, if it needs no work.

        Raises:
            OutputError: The result is there, but cannot be read.
        """
        note = self._records.note_of(self._names)
        held = note is not None and self._records.holds(note, self._ingredients, self._names)
        return note if held else None

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
                name=self._names.source_name,
                sha256=self._ingredients.source_sha256,
                size_bytes=self._size_and_times[0],
            ),
            output=FileFacts(
                name=self._names.output_name,
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

    def note(self, *, source: Entry | None = None, output: Entry | None = None) -> None:
        """Note that the result has appeared.

        Args:
            source: The source in its store, as it was fetched.
            output: The result in its store.
        """
        if self._notes is not None:
            faces, frames = self._tally
            self._notes.add(
                CachedResult(
                    name=self._names.output_name,
                    ingredients=self._ingredients,
                    output_sha256=self._output_sha256,
                    faces=faces,
                    frames=frames,
                    source_version="" if source is None else source.version,
                    output_version="" if output is None else output.version,
                )
            )

    def _state(self) -> tuple[int, int, int]:
        """What changes when somebody writes to the source."""
        try:
            facts = self._job.source.stat()
        except OSError as error:
            raise InputError(f"cannot read {self._job.source}: {error.strerror}") from error
        return facts.st_size, facts.st_mtime_ns, facts.st_ino
