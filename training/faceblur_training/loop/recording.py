"""Record a step on a GPU once and play it again: starting its kernels takes longer than they run.

A record (a CUDA graph) holds one step for samples of one size, with all its memory: inputs are
copied into it, faces padded to a number that is always the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from faceblur_training.loop.batches import Batch
from faceblur_training.loop.replicas import Losses

log = logging.getLogger(__name__)

FACES_PER_SAMPLE = 64
"""Room for faces in a record, per sample on average; steps with more run as they are."""

RUNS_BEFORE = 3
"""Steps of each kind that run as they are at first, which reserves memory and chooses kernels."""


@dataclass(frozen=True, eq=False)
class _Record:
    """A recorded step.

    Attributes:
        graph: What is played.
        batch: The memory it reads.
        names: Of the losses.
        losses: (len(names),) the memory it writes them to.
    """

    graph: torch.cuda.CUDAGraph
    batch: Batch
    names: tuple[str, ...]
    losses: Tensor


class RecordedSteps:
    """Does the steps of a run on a GPU, from records where possible.

    Args:
        work: Does one whole step with a batch on the GPU, and gives its losses.
        records: Whether to record at all.
    """

    def __init__(self, work: Callable[[Batch], Losses], *, records: bool) -> None:
        self._work = work
        self._records_any = records
        self._runs: Counter[Hashable] = Counter()
        self._records: dict[Hashable, _Record] = {}
        # What was prepared on the default stream could not be recorded on another.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, batch: Batch, kind: Hashable) -> Losses:
        """Do a step.

        Args:
            batch: On the GPU.
            kind: Whatever else decides what is done: equal for steps that do the same.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            losses = self._run(batch, (kind, batch.pixels.shape))
        torch.cuda.current_stream().wait_stream(self._stream)
        return losses

    def _run(self, batch: Batch, kind: Hashable) -> Losses:
        room = FACES_PER_SAMPLE * len(batch.pixels)
        fits = len(batch.faces) <= room
        if not (self._records_any and fits):
            return self._work(batch)
        if self._runs[kind] >= RUNS_BEFORE:
            if kind not in self._records:
                self._record(batch.padded(room), kind)
            if kind in self._records:
                return _play(self._records[kind], batch)
            return self._work(batch)
        self._runs[kind] += 1
        # As it will be recorded: a kernel that meets its size for the first time in a record may
        # load, compile or measure, which ends the record.
        return self._work(batch.padded(room))

    def _record(self, batch: Batch, kind: Hashable) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads fetch the next batches meanwhile, as they may.
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                losses = self._work(batch)
                values = torch.stack([torch.as_tensor(value) for value in losses.values()])
        except RuntimeError as error:
            self._records_any = False
            reason = (str(_first(error)).splitlines() or [repr(_first(error))])[0]
            log.warning("steps cannot be recorded on this GPU (%s); they run as they are", reason)
            return
        self._records[kind] = _Record(graph, batch, tuple(losses), values)


def _first(error: BaseException) -> BaseException:
    """What went wrong in a record: ending it raises an error of its own, which hides that."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _play(record: _Record, batch: Batch) -> Losses:
    record.batch.fill(batch)
    record.graph.replay()
    # The next step writes to the same memory.
    return dict(zip(record.names, record.losses.clone().unbind(), strict=True))


def uploaded(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches on a GPU, each on its way while the step before it runs."""
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    before: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copies):
            sent = batch.to(device), copies.record_event()
        if before is not None:
            yield _arrived(*before)
        before = sent
    if before is not None:
        yield _arrived(*before)


def _arrived(batch: Batch, event: torch.cuda.Event) -> Batch:
    stream = torch.cuda.current_stream()
    stream.wait_event(event)
    for part in batch.parts():
        part.record_stream(stream)
    return batch
