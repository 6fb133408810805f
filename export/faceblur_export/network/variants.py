"""The nine published variants as data: which layer follows which, and how wide.

Layers are numbered as in the official checkpoints, because their parameter names hold the number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import nn

from faceblur_export.network.blocks import C3, SPP, Concat, Conv, ShuffleBlock, Stem

ANCHORS_P5: Final = (
    (4, 5, 8, 10, 13, 16),
    (23, 29, 43, 55, 73, 105),
    (146, 217, 231, 300, 335, 433),
)
ANCHORS_P6: Final = (
    (6, 7, 9, 11, 13, 16),
    (18, 23, 26, 33, 37, 47),
    (54, 67, 77, 104, 112, 154),
    (174, 238, 258, 355, 445, 568),
)


@dataclass(frozen=True)
class Layer:
    """One numbered layer, the channels it gives, and the layers it reads; -1 is the one before."""

    module: nn.Module
    channels: int
    sources: tuple[int, ...] = (-1,)


class Stack:
    """Layers as they are put one on another, and those that the head reads, finest first."""

    def __init__(self, stem: int) -> None:
        self.layers = [Layer(Stem(3, stem), stem)]
        self.outputs: list[int] = []

    @property
    def channels(self) -> int:
        """Channels of the last layer."""
        return self.layers[-1].channels

    @property
    def last(self) -> int:
        """Number of the last layer."""
        return len(self.layers) - 1

    def conv(self, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        """Add a convolution."""
        self.layers.append(Layer(Conv(self.channels, outputs, kernel, stride), outputs))

    def c3(self, outputs: int, depth: int, *, shortcut: bool = True) -> None:
        """Add a cross-stage partial block."""
        module = C3(self.channels, outputs, depth, shortcut=shortcut)
        self.layers.append(Layer(module, outputs))

    def spp(self, outputs: int) -> None:
        """Add spatial pyramid pooling."""
        self.layers.append(Layer(SPP(self.channels, outputs), outputs))

    def shuffle(self, outputs: int, repeats: int) -> None:
        """Add a ShuffleNet-v2 unit that halves the sides, then `repeats` that keep them."""
        self.layers.append(Layer(ShuffleBlock(self.channels, outputs, 2), outputs))
        units = (ShuffleBlock(outputs, outputs, 1) for _ in range(repeats))
        self.layers.append(Layer(nn.Sequential(*units), outputs))

    def upsample(self) -> None:
        """Double the sides."""
        self.layers.append(Layer(nn.Upsample(scale_factor=2, mode="nearest"), self.channels))

    def concat(self, other: int) -> None:
        """Join the last layer with another."""
        channels = self.channels + self.layers[other].channels
        self.layers.append(Layer(Concat(), channels, (-1, other)))

    def neck(self, taps: list[int], down: tuple[int, ...], up: tuple[int, ...], depth: int) -> None:
        """Feature pyramid from coarse to fine, then a path back from fine to coarse.

        Args:
            taps: Backbone layers to join on the way down, coarse to fine.
            down: Channels of each step to a finer level.
            up: Channels of each level that the head reads, fine to coarse.
            depth: Bottlenecks in each block.
        """
        laterals = []
        for tap, channels in zip(taps, down, strict=True):
            self.conv(channels)
            laterals.append(self.last)
            self.upsample()
            self.concat(tap)
            self.c3(channels, depth, shortcut=False)
        self.outputs.append(self.last)
        for lateral, before, channels in zip(reversed(laterals), up, up[1:], strict=False):
            self.conv(before, 3, 2)
            self.concat(lateral)
            self.c3(channels, depth, shortcut=False)
            self.outputs.append(self.last)


def _shuffle_net(stem: int, stages: tuple[int, ...], neck: int) -> Stack:
    """Backbone of ShuffleNet-v2 units, for the n variants."""
    stack = Stack(stem)
    taps = []
    for channels, repeats in zip(stages, (3, 7, 3, 3), strict=False):
        stack.shuffle(channels, repeats)
        taps.append(stack.last)
    levels = len(stages)
    stack.neck(taps[-2::-1], (neck,) * (levels - 1), (neck,) * levels, 1)
    return stack


def _csp_net(depth: float, width: float, stages: tuple[int, ...]) -> Stack:
    """Backbone of C3 blocks, for the s, m and l variants; `stages` are channels at width 1."""
    channels = tuple(int(stage * width) for stage in stages)
    deep, shallow = round(9 * depth), round(3 * depth)
    stack = Stack(channels[0] // 2)
    stack.c3(channels[0], shallow)
    taps = []
    for level, outputs in enumerate(channels[1:-1]):
        stack.conv(outputs, 3, 2)
        stack.c3(outputs, deep if level < 2 else shallow)
        taps.append(stack.last)
    stack.conv(channels[-1], 3, 2)
    stack.spp(channels[-1])
    stack.c3(channels[-1], shallow, shortcut=False)
    stack.neck(taps[::-1], channels[-2:0:-1], channels[1:], shallow)
    return stack


@dataclass(frozen=True)
class Variant:
    """One published network: three anchors a level as w h w h w h, pixels, and all other layers."""

    anchors: tuple[tuple[int, ...], ...]
    stack: Callable[[], Stack]

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per cell of each level."""
        return tuple(8 * 2**level for level in range(len(self.anchors)))


_P5: Final = (128, 256, 512, 1024)
_P6: Final = (128, 256, 512, 768, 1024)

VARIANTS: Final = {
    "yolov5n-0.5": Variant(ANCHORS_P5, lambda: _shuffle_net(16, (64, 128, 256), 64)),
    "yolov5n": Variant(ANCHORS_P5, lambda: _shuffle_net(32, (128, 256, 512), 128)),
    "yolov5s": Variant(ANCHORS_P5, lambda: _csp_net(0.33, 0.5, _P5)),
    "yolov5m": Variant(ANCHORS_P5, lambda: _csp_net(0.67, 0.75, _P5)),
    "yolov5l": Variant(ANCHORS_P5, lambda: _csp_net(1.0, 1.0, _P5)),
    "yolov5n6": Variant(ANCHORS_P6, lambda: _shuffle_net(32, (128, 256, 384, 512), 128)),
    "yolov5s6": Variant(ANCHORS_P6, lambda: _csp_net(0.33, 0.5, _P6)),
    "yolov5m6": Variant(ANCHORS_P6, lambda: _csp_net(0.67, 0.75, _P6)),
    "yolov5l6": Variant(ANCHORS_P6, lambda: _csp_net(1.0, 1.0, _P6)),
}
"""Every variant by name."""
