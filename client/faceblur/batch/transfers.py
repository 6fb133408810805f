"""Bring files of stores to a private place of this machine, and their results back."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faceblur.batch.jobs import Job, StoredJob
from faceblur.batch.private_folder import PrivateFolder, remove
from faceblur.batch.shared_detector import check_going
from faceblur.detections import MediaDetections
from faceblur.errors import FaceblurError, InputError, OutputError
from faceblur.files import file_sha256
from faceblur.redaction import renamed, shown_as
from faceblur.stores.address import Address
from faceblur.stores.fsspec_store import store_of
from faceblur.stores.store import Entry
from faceblur.video.kinds import found_kind, result_name


@dataclass(frozen=True)
class Visit:
    """A file while it is here.

    Attributes:
        job: What is to be done with it here.
        stored: Where it came from and where its result goes; None if both are here anyway.
        source: The source in its store, as it was fetched.
        stop: Ends transfers when it is set.
    """

    job: Job
    stored: StoredJob | None = None
    source: Entry | None = None
    stop: threading.Event | None = None

    def deliver(self) -> Entry | None:
        """Bring the result, which is whole, to its store, if it goes to one.

        Raises:
            OutputError: It cannot be written there; nothing of it stays.
        """
        if self.stored is None or not isinstance(self.stored.output, Address):
            return None
        address = self.stored.output
        return store_of(address).commit(self.job.output, address, going=self._go)

    def named(self, report: MediaDetections, sha256: str | None) -> MediaDetections:
        """A report under the name that the file has in its store, with its hash, if that is known.

        The copy is gone when somebody else asks for it.
        """
        if self.stored is None or not isinstance(self.stored.source, Address):
            return report
        sha256 = sha256 or file_sha256(self.job.source)
        return dataclasses.replace(report, address=str(self.stored.source), sha256=sha256)

    def _go(self) -> None:
        if self.stop is not None:
            check_going(self.stop)


class Transfers:
    """The private place of one run; a context manager, safe to use from threads.

    Args:
        stop: When it is set, transfers end, and leave nothing.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._folder: PrivateFolder | None = None
        self._making = threading.Lock()
        self._numbers = itertools.count()

    @contextmanager
    def here(self, stored: StoredJob) -> Iterator[Visit]:
        """Have a file here while the block runs; after it, nothing of it is.

        Raises:
            InputError: It cannot be fetched, or is no image or video.
            OutputError: There is no room for it.
        """
        place = self._place()
        try:
            place.mkdir()
            visit = self._fetched(stored, place)
            shown = {str(visit.job.source): str(stored.source)}
            if isinstance(stored.output, Address):
                visit.job.output.parent.mkdir(parents=True, exist_ok=True)
                shown[str(visit.job.output)] = str(visit.stored and visit.stored.output)
            with shown_as(shown):
                try:
                    yield visit
                except FaceblurError as error:
                    error.args = tuple(
                        renamed(value) if isinstance(value, str) else value for value in error.args
                    )
                    raise
        except OSError as error:
            raise OutputError(
                f"cannot keep a copy of {stored.source} here: {error.strerror}; set TMPDIR to a "
                "folder with room for it"
            ) from error
        finally:
            remove(place)

    def __enter__(self) -> Transfers:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._folder is not None:
            remove(self._folder.path)

    def _place(self) -> Path:
        with self._making:
            if self._folder is None:
                self._folder = PrivateFolder()
            return self._folder.path / str(next(self._numbers))

    def _fetched(self, stored: StoredJob, place: Path) -> Visit:
        source, fetched = stored.source, None
        root = stored.root if isinstance(stored.root, Path) else None
        if isinstance(source, Address):
            root = place / "in"
            source = root / stored.source_name
            source.parent.mkdir(parents=True)
            entry = stored.entry or Entry(stored.source)  # type: ignore[arg-type]
            fetched = store_of(entry.address).fetch(
                entry, source, going=lambda: check_going(self._stop)
            )
            stored = _as_it_is(stored, source)
        output, tree = stored.output, stored.tree
        if isinstance(output, Address):
            tree = place / "out"
            output = tree / stored.output_name
        here = tree if isinstance(tree, Path) else None
        job = Job(source, output, stored.kind, root, here)
        return Visit(job, stored, fetched, self._stop)


def _as_it_is(stored: StoredJob, path: Path) -> StoredJob:
    """The job of a file whose name may have said something else of it than its content does.

    Raises:
        InputError: It is no image or video that can be read.
    """
    kind = found_kind(path)
    if kind is None or kind == "unreadable":
        raise InputError(f"{stored.source} is no image or video that can be read here")
    if kind == stored.kind:
        return stored
    ending = result_name(path, kind)[len(path.name) :]
    # Its result was to have another name when all names were compared.
    other = dict(stored.taken).get(ending) or _beside(stored, ending)
    if other is not None:
        raise InputError(
            f"{stored.source} is no {stored.kind}, and its result would be called as {other}: "
            "rename one"
        )
    output = stored.output.with_name(stored.output.name + ending)
    present = store_of(output).find(output) if isinstance(output, Address) else None
    return dataclasses.replace(stored, kind=kind, output=output, present=present)


def _beside(stored: StoredJob, ending: str) -> str | None:
    """A file that this run may not know, whose result is called as this one's with an ending."""
    if not ending or stored.tree is None or not isinstance(stored.source, Address):
        return None
    other = stored.source.with_name(stored.source.name + ending)
    there = not other.is_read_only and store_of(other).find(other) is not None
    return f"that of {other}" if there else None
