"""Use several cores by giving each a slice of the batch, with one thread per slice.

Small networks do not keep two cores busy inside one operation; two slices side by side do, and
meet only once a step. Replicas share the parameters; each has its own gradients and its own
batch statistics, which are averaged after the step. Sums go in a fixed order: results repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import torch
from torch import Tensor

from faceblur_export.network import YOLOv5Face

Losses = dict[str, Tensor | float]
"""What a step or a slice of one gives: losses as tensors, for reading them makes a GPU wait."""


class Replicas:
    """Copies of a model that share its parameters.

    Args:
        model: The one that is stepped.
        count: How many slices; one is done by the model itself.
    """

    def __init__(self, model: YOLOv5Face, count: int) -> None:
        self.model = model
        self.models = [deepcopy(model) for _ in range(count)] if count > 1 else [model]
        for copy in self.models:
            for own, shared in zip(copy.parameters(), model.parameters(), strict=True):
                own.data = shared.data
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def run(self, work: Callable[[int, YOLOv5Face], Losses]) -> list[Losses]:
        """Run `work(index, replica)`, which calls backward, on every replica at once.

        The gradients of all replicas are summed into the model.
        """
        for copy in self.models:
            copy.train()
            copy.zero_grad(set_to_none=True)
        if self._pool is None:
            return [work(0, self.model)]
        jobs = [self._pool.submit(work, i, m) for i, m in enumerate(self.models)]
        results = [job.result() for job in jobs]
        self._gather()
        return results

    @torch.no_grad()
    def _gather(self) -> None:
        parameters = [list(m.parameters()) for m in self.models]
        for shared, *own in zip(self.model.parameters(), *parameters, strict=True):
            gradients = [p.grad for p in own if p.grad is not None]
            shared.grad = _sum(gradients) if gradients else None
        buffers = [list(m.buffers()) for m in self.models]
        for shared, *copies in zip(self.model.buffers(), *buffers, strict=True):
            if shared.is_floating_point():
                shared.copy_(_sum(copies) / len(copies))
                for copy in copies:
                    copy.copy_(shared)
            else:
                shared.copy_(copies[0])

    @torch.no_grad()
    def spread_buffers(self) -> None:
        """Give every replica the buffers of the model, after it was loaded."""
        for copy in self.models:
            for own, shared in zip(copy.buffers(), self.model.buffers(), strict=True):
                own.copy_(shared)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0].clone()
    for tensor in tensors[1:]:
        total += tensor
    return total
