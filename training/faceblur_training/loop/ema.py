"""The average of the weights over the last steps, which is what gets evaluated and exported."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from faceblur_export.network import YOLOv5Face


class WeightAverage:
    """Exponential moving average of all floating-point weights and buffers of a model.

    Args:
        model: Copied as the start.
        decay: Part kept per step once warmed up.
        warmup: Steps over which the average lengthens.
    """

    def __init__(self, model: YOLOv5Face, *, decay: float = 0.998, warmup: float = 300.0) -> None:
        self.model = copy.deepcopy(model)
        self.model.eval().requires_grad_(False)
        self.decay = decay
        self.warmup = warmup
        self._pairs: tuple[list[Tensor], ...] = ()
        self._moves = torch.zeros((), device=next(model.parameters()).device)
        self.dial(0)

    def dial(self, step: int) -> None:
        """Say which step (counted from 0) comes next.

        Apart from `update`, which a GPU may play from a record: what changes from step to step lies
        in a tensor.
        """
        self._moves.fill_(1 - self.decay * (1 - math.exp(-(step + 1) / self.warmup)))

    @torch.no_grad()
    def update(self, model: YOLOv5Face) -> None:
        """Take in the weights after a step."""
        if not self._pairs:
            own, source = self.model.state_dict(), model.state_dict()
            for moves in (True, False):
                names = [name for name in own if own[name].is_floating_point() == moves]
                self._pairs += [own[n] for n in names], [source[n] for n in names]
        floats, their_floats, counts, their_counts = self._pairs
        way = torch._foreach_sub(their_floats, floats)
        torch._foreach_mul_(way, self._moves)
        torch._foreach_add_(floats, way)
        torch._foreach_copy_(counts, their_counts)
