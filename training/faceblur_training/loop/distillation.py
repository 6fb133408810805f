"""Let a student imitate a teacher inside: hints at the ends of the stages of the network.

Where student and teacher have the same layers (same variant), the maps between stages are compared
as well as the head (Romero et al. 2015, "FitNets"). Early on a stage may be given the teacher's
map instead of the student's own, so that later stages need not wait for earlier ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from faceblur_export.network import YOLOv5Face


class Hints:
    """Compares stages of a student with those of a teacher while both run.

    Args:
        student: Gets forward hooks.
        teacher: Is copied with its batch normalisation folded, and never changes.
        layers: Numbers of the layers to compare; those of unequal shape are left out.

    Attributes:
        forced: Whether the student goes on from the teacher's maps.
    """

    def __init__(self, student: YOLOv5Face, teacher: YOLOv5Face, layers: Sequence[int]) -> None:
        self.teacher = teacher.fuse().requires_grad_(False)
        self.forced = False
        self._wanted: dict[int, Tensor] = {}
        self._terms: list[Tensor] = []
        if student.variant != teacher.variant:
            layers = ()
        for number in layers:
            self._watch(number, student.model[number], self.teacher.model[number])

    def look(self, pixels: Tensor) -> list[Tensor]:
        """Run the teacher on a batch; the student's next pass is compared with this."""
        with torch.no_grad():
            return [m.float() for m in self.teacher(pixels)]

    def collect(self) -> Tensor | None:
        """Sum over stages of the mean squared error, each channel in units of its spread."""
        terms, self._terms = self._terms, []
        self._wanted.clear()
        return torch.stack(terms).sum() if terms else None

    def _watch(self, number: int, student: nn.Module, teacher: nn.Module) -> None:
        def remember(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            self._wanted[number] = output

        def compare(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
            wanted = self._wanted.get(number)
            if wanted is None or not torch.is_grad_enabled():
                return None
            goal = wanted.float()
            spread = goal.var(dim=(0, 2, 3))
            spread = spread + 0.1 * spread.mean() + 1e-6
            error = (output.float() - goal).square().mean(dim=(0, 2, 3))
            self._terms.append((error / spread).mean())
            return wanted.to(output.dtype) if self.forced else None

        teacher.register_forward_hook(remember)
        student.register_forward_hook(compare)


def stage_ends(model: YOLOv5Face) -> tuple[int, ...]:
    """Layers worth a hint: the maps that later layers read from afar, and the stem.

    Layers the head reads are left out: there the student finds its own features.
    """
    afar = {
        source
        for number, sources in enumerate(model.sources)
        for source in sources
        if source not in (-1, number - 1)
    }
    return tuple(sorted((afar | {0}) - set(model.outputs)))
