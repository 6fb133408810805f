"""Which files to blur, and where each result goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from faceblur.batch.found import Found, FoundPart, Place, check_name, expand
from faceblur.batch.result_names import (
    Target,
    check_apart,
    check_distinct,
    check_kinds,
    name_in,
    taken_endings,
    target_of,
)
from faceblur.batch.stored_search import address_of, expand_address
from faceblur.detections import MediaDetections
from faceblur.errors import InputError
from faceblur.stores.address import Address
from faceblur.stores.fsspec_store import store_of
from faceblur.stores.store import Entry
from faceblur.video.kinds import Kind

OnComplete = Callable[[Path, MediaDetections], None]
"""Called with a result that is complete under its temporary name, and with what was found in it,
just before it gets its own name. What it raises is passed on, and the result does not appear."""


_FEW: Final = 20
"""So many results are asked for one by one; for more, all that lies in their folder is listed."""


class _Named:
    """What lists of results call the files of a job."""

    source: Place
    output: Place
    root: Place | None
    tree: Place | None

    @property
    def source_name(self) -> str:
        """The source, relative to the folder that was searched, with forward slashes."""
        return name_in(self.source, self.root)

    @property
    def output_name(self) -> str:
        """The result, relative to the folder that it is noted in, with forward slashes."""
        return name_in(self.output, self.tree)


@dataclass(frozen=True)
class Job(_Named):
    """One file to blur, on this machine.

    Attributes:
        output: Where the result goes; never the source.
        root: The folder that was searched for it; None where it was named itself.
        tree: The folder in which results of this run are noted, so that a later run finds them
            finished; None for a single file.
    """

    source: Path
    output: Path
    kind: Kind
    root: Path | None = None
    tree: Path | None = None


@dataclass(frozen=True)
class StoredJob(_Named):
    """One file to blur that lies in a store, or whose result goes to one; it can be pickled.

    Attributes:
        kind: As far as its name says; what it is shows when it is here.
        entry: The source as it was listed; None for one of this machine.
        present: What was there under the result's name when the stores were listed.
        taken: What the result's name must not get added, as `taken_endings` gives it.

    The others are as those of `Job`.
    """

    source: Place
    output: Place
    kind: Kind
    root: Place | None = None
    tree: Place | None = None
    entry: Entry | None = None
    present: Entry | None = None
    taken: tuple[tuple[str, str], ...] = ()


AnyJob = Job | StoredJob


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        unchecked: Images and videos beside them that nothing here reads, folders that could
            not be listed.
        others: How many files there are beside them that are neither.
        earlier: What counts as results of earlier runs among what was searched; left alone.
    """

    jobs: list[AnyJob]
    unchecked: list[Place]
    others: int = 0
    earlier: list[Place] = field(default_factory=list)


def plan(inputs: Sequence[str], output: Path | None) -> list[Job]:
    """The jobs of `survey` that are of this machine alone."""
    return [job for job in survey(inputs, output).jobs if isinstance(job, Job)]


def survey(inputs: Sequence[str], output: Place | None, *, into_folder: bool = False) -> Plan:
    """Find the files that are meant, name their results, and list what is left out.

    Args:
        inputs: Files, directories (searched recursively) and glob patterns, or addresses of them.
        output: For one file the result's name or a directory; for several a directory. None puts
            `photo_blurred.jpg` beside `photo.jpg`, and those of a directory into
            `directory_blurred`, in the same tree. What cannot be written under its own suffix
            gets another behind it.
        into_folder: The output is a directory, which need not exist.

    Raises:
        InputError: Nothing is there, two results would have the same name, or what is searched
            lies in the folder for the results.
    """
    _check_here()
    if isinstance(output, Path):
        check_name(str(output), "the result")
    target = target_of(output, into_folder=into_folder)
    parts = [_expand(text) for text in inputs]
    found = [item for part in parts for item in part.found]
    for root in dict.fromkeys(item.root for item in found):
        if root is not None and output is not None:
            check_apart(root, output)
    paths = {item.path for item in found}
    # A second run must not blur the results of the first.
    earlier: list[Place] = []
    meant: list[Found] = []
    for item in found:
        if item.searched and target.holds(item, paths):
            earlier.append(item.path)
        else:
            meant.append(item)
    named = {item.path for item in meant}
    earlier = [path for path in earlier if path not in named]
    if not meant:
        raise InputError(f"{inputs[0]} holds nothing but results of earlier runs")
    single = len(meant) == 1 and not meant[0].searched
    jobs = jobs_of(meant, target, single=single and not into_folder)
    if single:
        check_kinds(jobs[0].source, jobs[0].output, jobs[0].kind)
    unchecked = [path for part in parts for path in part.unchecked]
    return Plan(jobs, unchecked, sum(part.others for part in parts), earlier)


def jobs_of(found: Sequence[Found], target: Target, *, single: bool) -> list[AnyJob]:
    """Name the results of files.

    Raises:
        InputError: Two would have the same name.
    """
    jobs = [job_of(item, target, single=single) for item in found]
    pairs = [(job.source, job.output) for job in jobs]
    check_distinct(pairs)
    if not any(isinstance(job, StoredJob) for job in jobs):
        return jobs
    taken = taken_endings(pairs)
    present = _present([job for job in jobs if isinstance(job.tree, Address)])
    return [
        replace(job, present=present.get(job.output), taken=taken.get(job.output, ()))
        if isinstance(job, StoredJob)
        else job
        for job in jobs
    ]


def _present(jobs: Sequence[AnyJob]) -> dict[Place, Entry]:
    """What is there under the names of results that go into folders of stores."""
    addresses = [job.output for job in jobs if isinstance(job.output, Address)]
    if len(addresses) <= _FEW:
        found = (store_of(address).find(address) for address in addresses)
        return {entry.address: entry for entry in found if entry is not None}
    trees = {job.tree for job in jobs if isinstance(job.tree, Address)}
    return {entry.address: entry for tree in trees for entry in store_of(tree).list(tree)}


def _expand(text: str) -> FoundPart:
    address = address_of(text)
    return expand(text) if address is None else expand_address(address, text)


def job_of(item: Found, target: Target, *, single: bool) -> AnyJob:
    """Name the result of a file.

    Raises:
        InputError: There is no name for it.
    """
    source, root = item.path, item.root
    output = target.of(item, single=single)
    tree = target.tree_of(item, output, single=single)
    if isinstance(source, Path) and isinstance(output, Path):
        return Job(source, output, item.kind, _here(root), _here(tree))
    return StoredJob(source, output, item.kind, root, tree, item.entry)


def _here(place: Place | None) -> Path | None:
    return place if isinstance(place, Path) else None


def _check_here() -> None:
    """Refuse to work in a folder that was removed: no name can be found from there."""
    try:
        Path.cwd()
    except OSError as error:
        raise InputError("the current folder was removed: change to another one") from error


def completion(
    on_complete: OnComplete | None, report: MediaDetections
) -> Callable[[Path], None] | None:
    """What `faceblur.files.atomic_path` calls before it commits a result."""
    if on_complete is None:
        return None
    return lambda temporary: on_complete(temporary, report)
