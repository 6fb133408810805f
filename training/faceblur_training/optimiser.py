"""Muon for convolution filters and AdamW for everything else.

Muon (Jordan et al. 2024) replaces the momentum of a filter bank, seen as a matrix, by the nearest
orthogonal matrix, found with a Newton–Schulz iteration. Its step is scaled so that it moves as far
as an AdamW step of the same rate (Liu et al. 2025, "Muon is scalable for LLM training").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients at hand."""
        if closure is not None:
            raise ValueError("this optimiser takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                move = self._muon if group["muon"] else self._adam
                step = move(parameter.grad, state)
                parameter.mul_(1 - group["lr"] * group["decay"])
                parameter.add_(step, alpha=-group["lr"])

    def _muon(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 0.05)
        matrix = gradient.lerp(momentum, 0.95).flatten(1)
        turned = orthogonalised(matrix)
        scale = 0.2 * max(matrix.shape) ** 0.5
        step: Tensor = (turned * scale).view_as(gradient)
        return step

    def _adam(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        if "first" not in state:
            state["first"] = torch.zeros_like(gradient)
            state["second"] = torch.zeros_like(gradient)
            state["steps"] = torch.zeros(())
        state["steps"] += 1
        count = float(state["steps"])
        first = state["first"].lerp_(gradient, 0.1)
        second = state["second"].lerp_(gradient.square(), 0.01)
        spread = (second / (1 - 0.99**count)).sqrt() + 1e-8
        step: Tensor = first / (1 - 0.9**count) / spread
        return step


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest (semi-)orthogonal matrix: singular values become about 1."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> float:
    """Shrink all gradients together to a norm of at most `limit`; the norm before."""
    return float(torch.nn.utils.clip_grad_norm_(parameters, limit))
