"""YOLOv5-face: an image in, raw head maps out, and the formula that turns them into rows."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from faceblur.errors import ModelError
from faceblur_export.network.variants import VARIANTS

VALUES = 16
"""Values per anchor: x y w h objectness, five landmarks as x y, face class."""

ANCHORS_PER_CELL = 3


class Head(nn.Module):
    """One 1 × 1 convolution per level.

    The buffers keep the names and layout of the official checkpoints: `anchors` in cells,
    `anchor_grid` in pixels.
    """

    anchors: Tensor
    anchor_grid: Tensor

    def __init__(
        self, anchors: Sequence[Sequence[int]], strides: Sequence[int], inputs: Sequence[int]
    ) -> None:
        super().__init__()
        pixels = torch.tensor(anchors, dtype=torch.float32).view(len(anchors), -1, 2)
        self.register_buffer("anchors", pixels / torch.tensor(strides).view(-1, 1, 1))
        self.register_buffer("anchor_grid", pixels.view(len(anchors), 1, -1, 1, 1, 2).clone())
        self.m = nn.ModuleList(nn.Conv2d(n, ANCHORS_PER_CELL * VALUES, 1) for n in inputs)
        self.reset_bias(strides)

    @torch.no_grad()
    def reset_bias(self, strides: Sequence[int]) -> None:
        """Start from few objects: about eight in an image of 640 pixels, nearly all faces.

        This is YOLOv5's start; without it the first epochs go into learning that most
        anchors are empty.
        """
        for convolution, stride in zip(self.m, strides, strict=True):
            assert isinstance(convolution, nn.Conv2d)
            assert convolution.bias is not None
            bias = convolution.bias.view(ANCHORS_PER_CELL, VALUES)
            bias[:, 4] += math.log(8 / (640 / stride) ** 2)
            bias[:, 15] += math.log(0.6 / (1 - 0.99))

    @torch.no_grad()
    def shift_objectness(self, amount: float) -> None:
        """Add to every objectness before the sigmoid: scores rise or fall, in the same order."""
        for convolution in self.m:
            assert isinstance(convolution, nn.Conv2d)
            assert convolution.bias is not None
            convolution.bias.view(ANCHORS_PER_CELL, VALUES)[:, 4] += amount

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """(B, C_i, ny, nx) per level → (B, 48, ny, nx) per level, anchor-major channels."""
        return [level(x) for level, x in zip(self.m, features, strict=True)]


class YOLOv5Face(nn.Module):
    """The network; make one with `build`.

    Attributes:
        variant: Its name.
        strides: Pixels per cell of each level, finest first.
    """

    def __init__(self, variant: str) -> None:
        super().__init__()
        recipe = VARIANTS[variant]
        stack = recipe.stack()
        self.variant = variant
        self.strides = list(recipe.strides)
        self.sources = [layer.sources for layer in stack.layers]
        self.outputs = list(stack.outputs)
        head = Head(
            recipe.anchors, recipe.strides, [stack.layers[i].channels for i in stack.outputs]
        )
        self.model = nn.ModuleList([*(layer.module for layer in stack.layers), head])

    @property
    def head(self) -> Head:
        """The last layer."""
        head = self.model[-1]
        assert isinstance(head, Head)
        return head

    @property
    def anchors(self) -> Tensor:
        """(levels, 3, 2) anchor widths and heights, pixels."""
        grid = self.head.anchor_grid
        return grid.view(grid.shape[0], ANCHORS_PER_CELL, 2)

    @property
    def stride(self) -> int:
        """Largest stride: height and width of an input are multiples of it."""
        return max(self.strides)

    def head_maps(self, x: Tensor) -> list[Tensor]:
        """Raw head maps as the convolutions give them.

        Args:
            x: (B, 3, H, W) RGB, 0–1, H and W multiples of `stride`.

        Returns:
            Per level (B, 48, ny, nx), channels anchor by anchor.
        """
        seen: list[Tensor] = []
        for layer, sources in zip(self.model, self.sources, strict=False):
            x = layer(*(seen[i] for i in sources)) if seen else layer(x)
            seen.append(x)
        return cast(list[Tensor], self.head([seen[i] for i in self.outputs]))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Raw values of every anchor.

        Args:
            x: (B, 3, H, W) RGB, 0–1, H and W multiples of `stride`.

        Returns:
            Per level (B, 3, ny, nx, 16): x y w h objectness, five landmarks as x y, class,
            none of them decoded.
        """
        return [
            m.reshape(-1, ANCHORS_PER_CELL, VALUES, *m.shape[2:]).permute(0, 1, 3, 4, 2)
            for m in self.head_maps(x)
        ]

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """Turn raw maps into rows.

        Args:
            maps: What `forward` gave.

        Returns:
            (B, A, 16): centre x y, width, height in input pixels, objectness 0–1, five
            landmarks in input pixels, class 0–1. Level-major, then anchor, y, x. The formula is
            that of the reference `models/yolo.py`.
        """
        rows = []
        for raw, stride, anchor in zip(maps, self.strides, self.anchors, strict=True):
            ny, nx = raw.shape[2:4]
            y, x = torch.meshgrid(
                torch.arange(ny, device=raw.device, dtype=raw.dtype),
                torch.arange(nx, device=raw.device, dtype=raw.dtype),
                indexing="ij",
            )
            cell = torch.stack((x, y), -1)
            size = anchor.to(raw).view(1, ANCHORS_PER_CELL, 1, 1, 2)
            xy = (raw[..., 0:2].sigmoid() * 2 - 0.5 + cell) * stride
            wh = (raw[..., 2:4].sigmoid() * 2) ** 2 * size
            points = raw[..., 5:15] * size.repeat(1, 1, 1, 1, 5) + cell.repeat(1, 1, 5) * stride
            decoded = (xy, wh, raw[..., 4:5].sigmoid(), points, raw[..., 15:].sigmoid())
            rows.append(torch.cat(decoded, -1).flatten(1, 3))
        return torch.cat(rows, 1)

    def fuse(self) -> YOLOv5Face:
        """A copy in eval mode with every batch normalisation folded into its convolution.

        Folding is done in double precision, so that it rounds alike on every processor.
        """
        pairs = [
            (parent, names, convolution, norm)
            for parent, module in self.named_modules()
            for names, convolution, norm in _pairs(module)
        ]
        # What is folded anyway need not be copied first.
        shared = {id(t): t for *_, a, b in pairs for t in (*_tensors(a), *_tensors(b))}
        fused = copy.deepcopy(self, shared).eval()
        for parent, names, convolution, norm in pairs:
            module = fused.get_submodule(parent)
            setattr(module, names[0], _fold(convolution, norm))
            setattr(module, names[1], nn.Identity())
        return fused


def _pairs(module: nn.Module) -> Iterator[tuple[tuple[str, str], nn.Conv2d, nn.BatchNorm2d]]:
    """The convolutions of a module that a normalisation follows, with the names of both."""
    for (first, convolution), (second, norm) in itertools.pairwise(module.named_children()):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield (first, second), convolution, norm


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight = convolution.weight
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    folded = copy.deepcopy(convolution, {id(weight): weight})
    folded.weight = nn.Parameter((weight.double() * scale.view(-1, 1, 1, 1)).to(weight))
    shift = norm.bias.double() - norm.running_mean.double() * scale
    folded.bias = nn.Parameter(shift.to(weight))
    return folded


def build(variant: str) -> YOLOv5Face:
    """Make an untrained network, initialised for training from scratch.

    Args:
        variant: One of `VARIANTS`.

    Raises:
        ModelError: There is no such variant.
    """
    if variant not in VARIANTS:
        raise ModelError(f"there is no variant {variant!r}; choose one of {', '.join(VARIANTS)}")
    return YOLOv5Face(variant)
