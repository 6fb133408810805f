"""Muon for convolution filters and AdamW for everything else.

Muon (Jordan et al. 2024) replaces the momentum of a filter bank, seen as a matrix, by the nearest
orthogonal matrix, found with a Newton–Schulz iteration. Its step is scaled so that it moves as far
as an AdamW step of the same rate (Liu et al. 2025, "Muon is scalable for LLM training").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class MuonAdamW(torch.optim.Optimizer):
    """Steps convolution filters with Muon and the rest with AdamW.

    Args:
        model: Depthwise filters, normalisation and biases go to AdamW; weight decay acts on
            filters only.
        rate: Learning rate of both.
        decay: Weight decay per unit of rate.
    """

    def __init__(self, model: nn.Module, *, rate: float, decay: float = 0.02) -> None:
        matrices, filters, others = [], [], []
        for parameter in model.parameters():
            if parameter.ndim == 4 and parameter.shape[1] > 1:
                matrices.append(parameter)
            elif parameter.ndim == 4:
                filters.append(parameter)
            else:
                others.append(parameter)
        groups = [
            {"params": matrices, "muon": True, "decay": decay},
            {"params": filters, "muon": False, "decay": decay},
            {"params": others, "muon": False, "decay": 0.0},
        ]
        super().__init__([g for g in groups if g["params"]], {"lr": rate})
        device = next(model.parameters()).device
        self._rate, self._first, self._second = (torch.zeros((), device=device) for _ in range(3))
        self.dial(rate, 0)

    def dial(self, rate: float, step: int) -> None:
        """Set the learning rate of the next step, and say which it is, counted from 0.

        Apart from `step`, which a GPU may play from a record: what changes from step to step lies
        in tensors.
        """
        self._rate.fill_(rate)
        self._first.fill_(1 / (1 - 0.9 ** (step + 1)))
        self._second.fill_(1 / (1 - 0.99 ** (step + 1)))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients at hand."""
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if not moved:
                continue
            gradients = [p.grad for p in moved]
            move = self._muon if group["muon"] else self._adam
            steps = move(gradients, [self.state[p] for p in moved])
            torch._foreach_mul_(steps, self._rate)
            torch._foreach_mul_(moved, 1 - self._rate * group["decay"])
            torch._foreach_sub_(moved, steps)

    def _muon(self, gradients: list[Tensor], states: list[dict[str, Any]]) -> list[Tensor]:
        momenta = _state(states, "momentum", gradients)
        torch._foreach_lerp_(momenta, gradients, 0.05)
        ahead = [a.flatten(1) for a in torch._foreach_lerp(gradients, momenta, 0.95)]
        # Filters of one shape go together: a GPU would spend its time on starting tiny kernels.
        alike: dict[torch.Size, list[int]] = {}
        for number, matrix in enumerate(ahead):
            alike.setdefault(matrix.shape, []).append(number)
        steps = list(gradients)
        for shape, numbers in alike.items():
            turned = orthogonalised(torch.stack([ahead[n] for n in numbers]))
            turned = turned * (0.2 * max(shape) ** 0.5)
            for number, step in zip(numbers, turned, strict=True):
                steps[number] = step.view_as(gradients[number])
        return steps

    def _adam(self, gradients: list[Tensor], states: list[dict[str, Any]]) -> list[Tensor]:
        first = _state(states, "first", gradients)
        second = _state(states, "second", gradients)
        torch._foreach_lerp_(first, gradients, 0.1)
        torch._foreach_lerp_(second, torch._foreach_mul(gradients, gradients), 0.01)
        spread = torch._foreach_sqrt(torch._foreach_mul(second, self._second))
        torch._foreach_add_(spread, 1e-8)
        means = torch._foreach_mul(first, self._first)
        return list(torch._foreach_div(means, spread))


def _state(states: list[dict[str, Any]], name: str, like: list[Tensor]) -> list[Tensor]:
    """One tensor of the state of each parameter, zero at first."""
    for state, gradient in zip(states, like, strict=True):
        if name not in state:
            state[name] = torch.zeros_like(gradient)
    return [state[name] for state in states]


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest (semi-)orthogonal matrices: singular values become about 1.

    Args:
        matrices: (..., rows, columns).
        steps: Of the iteration.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Shrink all gradients together to a norm of at most `limit`; the norm before."""
    return torch.nn.utils.clip_grad_norm_(parameters, limit)
