"""`faceblur blur` on more than one machine: --on, --shard, and what goes with them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.finished import OutputLock
from faceblur.batch.found import Place
from faceblur.batch.jobs import AnyJob, Plan
from faceblur.batch.outcome import RunOptions
from faceblur.batch.stored_lock import StoredLock
from faceblur.cli.options import bundle, given, option
from faceblur.cli.progress import ProgressLine
from faceblur.cli.standing import StandingLine, Tally
from faceblur.cli.summary import count, left_alone
from faceblur.cluster.connection import connected
from faceblur.cluster.landmarks import landmarks
from faceblur.cluster.options import ClusterOptions
from faceblur.cluster.run import run
from faceblur.cluster.shards import Shard, parse_shard
from faceblur.cluster.worker import WorkerSetup, key_mark
from faceblur.detection.detector import ModelInfo
from faceblur.detection.models import Media
from faceblur.detection.session import SessionOptions
from faceblur.detections import MediaDetections
from faceblur.errors import InputError
from faceblur.proof.audit.chains import AuditChains
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.reader import Audit, environment_key
from faceblur.stores.address import Address

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spread:
    """On which machines files are masked: a cluster, a shard of them here, or all here."""

    on: ClusterOptions | None = None
    shard: Shard | None = None


@dataclass(frozen=True, kw_only=True)
class ClusterRun:
    """What a cluster has done.

    Attributes:
        all_done: Whether no file failed.
        model: What found the faces; None if nobody knows.
        reports: The faces of each file, in the order of the files, if they were asked for.
    """

    all_done: bool
    model: ModelInfo | None
    reports: list[MediaDetections]


def _spread(
    on: str | None, shard: str | None, cpus_per_worker: int | None, workers_per_gpu: int
) -> Spread:
    if on is None:
        if idle := {"cpus_per_worker", "workers_per_gpu"} & given():
            name = "--" + min(idle).replace("_", "-")
            raise InputError(f"{name} is for a cluster: name it with --on, or leave it out")
        return Spread(shard=None if shard is None else parse_shard(shard))
    if shard is not None:
        raise InputError("--on shares the files out by itself: leave out --shard")
    return Spread(
        ClusterOptions(address=on, cpus_per_worker=cpus_per_worker, workers_per_gpu=workers_per_gpu)
    )


spread_options = bundle(
    "spread",
    _spread,
    option(
        "--on",
        metavar="ray|ray://HOST:PORT",
        help="Mask on a cluster of Ray: a running one, or for ray without one this machine.",
    ),
    option(
        "--shard",
        metavar="I/N",
        help="Mask this part of the files, 0/N to N-1/N: other machines mask the others.",
    ),
    option(
        "--cpus-per-worker",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="all of a machine",
        help="With --on, for machines without GPUs.",
    ),
    option(
        "--workers-per-gpu",
        type=click.IntRange(1, 16),
        default=1,
        metavar="N",
        help="With --on, workers that share a GPU.",
    ),
)
"""--on, --shard, --cpus-per-worker and --workers-per-gpu, as a `Spread`."""


def shard_of(found: Plan, shard: Shard) -> Plan:
    """The files of a shard, and of what was not checked what belongs to it."""
    return Plan(
        [job for job in found.jobs if shard.holds(job.source_name)],
        [path for path in found.unchecked if shard.holds(path.name)],
        found.others,
        [path for path in found.earlier if shard.holds(path.name)],
    )


def run_on_cluster(
    found: Plan,
    cluster: ClusterOptions,
    options: RunOptions,
    session: SessionOptions,
    *,
    media: Media,
    boxes: AnnotationFile | None,
    reports: bool,
    audit: Path | None,
    quiet: bool,
) -> ClusterRun:
    """Mask files on a cluster, and say what happened.

    Args:
        found: The files.
        cluster: Where.
        options: What is masked, and how.
        session: What finds the faces, of each worker.
        media: What all files are, for a model that nobody names.
        boxes: The faces, where none are to be found.
        reports: Whether the faces of each file are wanted.
        audit: Where manifests go.
        quiet: Say only what went wrong.

    Raises:
        FaceblurError: Nothing could be done, or somebody else does it.
    """
    if cluster.files_per_worker is None and "workers" in given():
        cluster = replace(cluster, files_per_worker=options.workers)
    jobs = [_anywhere(job) for job in found.jobs]
    sealed: Audit | None = None
    line = ProgressLine(shown=not quiet, files=len(jobs))
    tally = Tally(line)
    with ExitStack() as cleanup:
        cleanup.enter_context(swept(jobs))
        chains = None if audit is None else AuditChains(audit.absolute(), key=environment_key())
        setup = WorkerSetup(
            options=replace(options, workers=cluster.files_per_worker or 0, audit=None),
            session=session,
            size=options.policy.detection.size,
            media=media,
            boxes=None if boxes is None else boxes.anywhere(),
            reports=reports,
            chains=None if chains is None else chains.place,
            key_mark=None if chains is None else key_mark(environment_key(), chains.place.audit),
            landmarks=landmarks(jobs),
            level=logger.getEffectiveLevel(),
        )
        # Ray tells there of machines that end; what that means for a file is said by us.
        cleanup.enter_context(redirect_stdout(_Chatter()))
        ray = cleanup.enter_context(connected(cluster))
        cleanup.enter_context(closing(line))
        standing = StandingLine(line, quiet=quiet)
        covered = frozenset() if chains is None else chains.covered
        results = run(ray, jobs, setup, cluster, covered=covered, on_standing=standing.show)
        try:
            with closing(results):
                for job, result in results:
                    tally.add(job, result)
        finally:
            if chains is not None:
                sealed = chains.seal()
    tally.end()
    if not quiet:
        click.echo(tally.summary(standing) + left_alone(found))
        if sealed is not None:
            click.echo(_sealed_line(sealed))
    made = [
        _as_named(report, own.source)
        for own, job in zip(found.jobs, jobs, strict=True)
        if (report := tally.report(job)) is not None
    ]
    return ClusterRun(all_done=not tally.failed, model=tally.model, reports=made)


class _Chatter(io.TextIOBase):
    """Takes what a library prints to where results are told, and logs it."""

    def write(self, text: str, /) -> int:
        """Log a part of a line."""
        if text.strip():
            logger.debug("%s", text.strip())
        return len(text)


class Kept:
    """The audit of files that are masked here; of a shard it is one of several chains."""

    def __init__(self, folder: Path, shard: Shard | None) -> None:
        key = environment_key()
        self._chains = None if shard is None else AuditChains(folder, key=key)
        self.log = (
            AuditLog(folder, key=key)
            if self._chains is None
            else self._chains.place.begin(key=key, covered=self._chains.covered)
        )

    def end(self) -> str:
        """Seal it, if it is of several chains; what to note of it."""
        if self._chains is not None:
            return _sealed_line(self._chains.seal())
        entries, head = self.log.head
        return f"{self.log.folder}: {count(entries, 'manifest')}, head {head}"


def _sealed_line(audit: Audit) -> str:
    return f"{audit.folder}: {count(len(audit.entries), 'manifest')}, root {audit.head}"


def _anywhere(job: AnyJob) -> AnyJob:
    """The same file, under a name that means the same in every folder."""

    def absolute(place: Any) -> Any:
        return place.absolute() if isinstance(place, Path) else place

    return replace(
        job,
        source=absolute(job.source),
        output=absolute(job.output),
        root=absolute(job.root),
        tree=absolute(job.tree),
    )


def _as_named(report: MediaDetections, source: Place) -> MediaDetections:
    """A report under the name that was given here: that of a worker means the same to all."""
    return replace(report, path=source) if isinstance(source, Path) else report


@contextmanager
def swept(jobs: Sequence[AnyJob]) -> Iterator[None]:
    """Remove what workers that were killed leave of unfinished results: before, and in the end.

    Raises:
        OutputError: Another run writes there.
    """
    outputs: dict[Path | None, list[Path]] = {}
    stored: dict[Address | None, Address] = {}
    for job in jobs:
        if isinstance(job.output, Path):
            tree = job.tree if isinstance(job.tree, Path) else None
            outputs.setdefault(tree, []).append(job.output)
        else:
            stored.setdefault(job.tree if isinstance(job.tree, Address) else None, job.output)
    with ExitStack() as cleanup:
        for folder, output in stored.items():
            its = StoredLock(folder, output)
            its.acquire()
            cleanup.callback(its.release)
        for tree, paths in outputs.items():
            lock = OutputLock(tree, paths)
            lock.acquire(alone=True)
            cleanup.callback(lock.release)
            cleanup.callback(lock.sweep)
        yield
