"""The building blocks of YOLOv5-face, with the parameter names of the official checkpoints.

Every block works on any batch size and any height and width: nothing here reshapes by the batch.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

BN_EPS = 1e-3
BN_MOMENTUM = 0.03


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """A batch normalisation with the constants that YOLOv5 trains with."""
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


class Conv(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = batch_norm(outputs)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        return cast(Tensor, self.act(self.bn(self.conv(x))))


class Stem(nn.Module):
    """Reduce the image to a quarter of its sides: strided convolution beside max pooling."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stem_1 = Conv(inputs, outputs, 3, 2)
        self.stem_2a = Conv(outputs, outputs // 2)
        self.stem_2b = Conv(outputs // 2, outputs, 3, 2)
        self.stem_2p = nn.MaxPool2d(2, 2)
        self.stem_3 = Conv(2 * outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / 4, W / 4)."""
        x = self.stem_1(x)
        both = torch.cat((self.stem_2b(self.stem_2a(x)), self.stem_2p(x)), 1)
        return cast(Tensor, self.stem_3(both))


class Bottleneck(nn.Module):
    """1 × 1 then 3 × 3 convolution, with the input added where `shortcut` says so."""

    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels)
        self.cv2 = Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) → the same shape."""
        out = cast(Tensor, self.cv2(self.cv1(x)))
        return x + out if self.shortcut else out


class C3(nn.Module):
    """Cross-stage partial block with three convolutions and `depth` bottlenecks."""

    def __init__(self, inputs: int, outputs: int, depth: int = 1, *, shortcut: bool = True) -> None:
        super().__init__()
        hidden = outputs // 2
        self.cv1 = Conv(inputs, hidden)
        self.cv2 = Conv(inputs, hidden)
        self.cv3 = Conv(2 * hidden, outputs)
        self.m = nn.Sequential(*(Bottleneck(hidden, shortcut=shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        return cast(Tensor, self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1)))


class SPP(nn.Module):
    """Spatial pyramid pooling: max pooling at several window sizes, side by side."""

    def __init__(self, inputs: int, outputs: int, kernels: tuple[int, ...] = (3, 5, 7)) -> None:
        super().__init__()
        hidden = inputs // 2
        self.cv1 = Conv(inputs, hidden)
        self.cv2 = Conv(hidden * (len(kernels) + 1), outputs)
        self.m = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        x = self.cv1(x)
        return cast(Tensor, self.cv2(torch.cat([x, *(pool(x) for pool in self.m)], 1)))


class ShuffleBlock(nn.Module):
    """ShuffleNet-v2 unit: half the channels pass, half are convolved, then both interleave.

    With stride 2 both halves see all the input and the sides halve.
    """

    shuffle: Tensor

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride == 2:
            self.branch1 = nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                batch_norm(inputs),
                nn.Conv2d(inputs, half, 1, bias=False),
                batch_norm(half),
                nn.SiLU(inplace=True),
            )
        self.branch2 = nn.Sequential(
            nn.Conv2d(inputs if stride == 2 else half, half, 1, bias=False),
            batch_norm(half),
            nn.SiLU(inplace=True),
            nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False),
            batch_norm(half),
            nn.Conv2d(half, half, 1, bias=False),
            batch_norm(half),
            nn.SiLU(inplace=True),
        )
        # Interleaving as one gather over channels: no reshape, so no shape in the exported graph.
        order = torch.arange(outputs).reshape(2, half).T.reshape(-1)
        self.register_buffer("shuffle", order, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H / stride, W / stride)."""
        if self.stride == 2:
            passing, convolved = self.branch1(x), self.branch2(x)
        else:
            passing, rest = x.chunk(2, 1)
            convolved = self.branch2(rest)
        return torch.cat((passing, convolved), 1).index_select(1, self.shuffle)


class Concat(nn.Module):
    """Join feature maps along channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """(B, C_i, H, W) each → (B, ΣC_i, H, W)."""
        return torch.cat(maps, 1)
