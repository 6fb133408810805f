"""Whether a source and its result are what they were when the result was noted."""

from __future__ import annotations

from pathlib import Path

from faceblur.batch.finished import CachedResult, is_intact
from faceblur.batch.jobs import AnyJob, StoredJob
from faceblur.batch.private_folder import PrivateFolder
from faceblur.files import file_sha256
from faceblur.stores.fsspec_store import store_of


def is_source_of(note: CachedResult, job: StoredJob) -> bool:
    """Whether a note is of what the source holds now, as far as one knows without fetching it."""
    if isinstance(job.source, Path):
        return file_sha256(job.source) == note.ingredients.source_sha256
    version = "" if job.entry is None else job.entry.version
    return bool(version) and version == note.source_version


def is_there(note: CachedResult, job: AnyJob) -> bool:
    """Whether the result is there and holds what it did when it was noted."""
    if isinstance(job.output, Path):
        return is_intact(job.output, note)
    present = job.present if isinstance(job, StoredJob) else None
    if present is None:
        return False
    if present.version and present.version == note.output_version:
        return True
    with PrivateFolder() as folder:
        copy = folder.path / "result"
        store_of(job.output).fetch(present, copy)
        return file_sha256(copy) == note.output_sha256
