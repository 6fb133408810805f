"""The layers of a network as ONNX nodes.

PyTorch's own exporter needs several seconds for the smallest variant, gives other bytes with
every release, and leaves a copy in the graph for every cat, chunk and shuffle. The network has
only a handful of operations, so they are written here one by one: the nodes know nothing of
batch, height or width, the same weights always give the same bytes, and moving channels around
costs nothing until a layer needs them side by side. What that gains: perf/run exporting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from faceblur_export.network import YOLOv5Face
from faceblur_export.onnx_graph.builder import OnnxBuilder

Channels = list[tuple[str, int]]
"""The channels of a feature map, each as a channel of some tensor in the graph."""


def add_network(builder: OnnxBuilder, model: YOLOv5Face, pixels: str) -> list[str]:
    """Add all layers of a network to a graph.

    Args:
        builder: The graph.
        model: The network; it is fused first.
        pixels: Tensor (B, 3, H, W) of values 0–255: the division by 255 goes into the weights of
            the first convolution.

    Returns:
        Per level the tensor (B, 48, ny, nx) of raw head values.
    """
    fused = model.fuse()
    stem = fused.get_submodule("model.0.stem_1.conv")
    assert isinstance(stem, nn.Conv2d)
    with torch.no_grad():
        stem.weight /= 255
    return _Converter(builder, fused).run(pixels)


class _HeadMaps(nn.Module):
    """The part of the network that becomes nodes."""

    def __init__(self, model: YOLOv5Face) -> None:
        super().__init__()
        self.net = model

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.net.head_maps(x)


class _Converter:
    def __init__(self, builder: OnnxBuilder, model: YOLOv5Face) -> None:
        self._builder = builder
        self._traced = fx.symbolic_trace(_HeadMaps(model))
        self._values: dict[fx.Node, Any] = {}
        self._widths: dict[str, int] = {}

    def run(self, pixels: str) -> list[str]:
        self._widths[pixels] = 3
        for node in self._traced.graph.nodes:
            if node.op == "placeholder":
                value: Any = self._whole(pixels)
            elif node.op == "get_attr":
                value = self._traced.get_buffer(node.target)
            elif node.op == "output":
                return [self._join(self._values[head])[0] for head in node.args[0]]
            else:
                value = self._convert(node)
                if isinstance(value, list) and len(node.users) > 1:
                    value = self._compact(value)
            self._values[node] = value
        raise AssertionError("a traced graph ends with an output")

    def _convert(self, node: fx.Node) -> Any:
        arguments: Any = fx.map_arg(node.args, lambda used: self._values[used])
        name = node.name
        if node.op == "call_module":
            module = self._traced.get_submodule(str(node.target))
            return self._layers[type(module)](self, name, module, *arguments)
        operation = node.target if isinstance(node.target, str) else node.target.__name__
        if operation == "cat":
            return [channel for part in arguments[0] for channel in part]
        if operation == "chunk":
            half = len(arguments[0]) // 2
            return arguments[0][:half], arguments[0][half:]
        if operation == "getitem":
            return arguments[0][arguments[1]]
        if operation == "index_select":
            return [arguments[0][i] for i in arguments[2].tolist()]
        if operation == "add":
            left, right = (self._in_order(value) for value in arguments)
            return self._give(name, "Add", [left, right], len(arguments[0]))
        raise NotImplementedError(f"no ONNX nodes for {operation}")

    def _conv(self, name: str, conv: nn.Module, x: Channels) -> Channels:
        """Convolve the channels in whatever order they lie, with the weights put in that order."""
        assert isinstance(conv, nn.Conv2d)
        source, order = self._join(x)
        assert conv.bias is not None
        weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
        if conv.groups == 1:
            weight = weight[:, order]
        else:
            weight, bias = weight[order], bias[order]
        kernel = list(conv.kernel_size)
        inputs = [
            source,
            self._builder.constant(f"{name}.weight", weight, np.float32),
            self._builder.constant(f"{name}.bias", bias, np.float32),
        ]
        result = self._give(
            name,
            "Conv",
            inputs,
            conv.out_channels,
            kernel_shape=kernel,
            strides=list(conv.stride),
            pads=[side // 2 for side in kernel] * 2,
            group=conv.groups,
        )
        return result if conv.groups == 1 else _permuted(result, order)

    def _silu(self, name: str, _: nn.Module, x: Channels) -> Channels:
        source, order = self._join(x)
        gate = self._builder.add("Sigmoid", [source], f"{name}.gate")
        return _permuted(self._give(name, "Mul", [source, gate], len(x)), order)

    def _max_pool(self, name: str, pool: nn.Module, x: Channels) -> Channels:
        assert isinstance(pool, nn.MaxPool2d)
        kernel, strides, pads = [pool.kernel_size] * 2, [pool.stride] * 2, [pool.padding] * 4
        return self._each(name, "MaxPool", x, kernel_shape=kernel, strides=strides, pads=pads)

    def _upsample(self, name: str, _: nn.Module, x: Channels) -> Channels:
        scales = self._builder.constant("upsample.scales", [1, 1, 2, 2], np.float32)
        nearest = {"mode": "nearest", "nearest_mode": "floor"}
        asymmetric = {"coordinate_transformation_mode": "asymmetric"}
        return self._each(name, "Resize", x, "", scales, **nearest, **asymmetric)

    def _each(self, name: str, op: str, x: Channels, *more: str, **attributes: Any) -> Channels:
        """A node that does the same to every channel."""
        source, order = self._join(x)
        return _permuted(self._give(name, op, [source, *more], len(x), **attributes), order)

    def _identity(self, _: str, __: nn.Module, x: Channels) -> Channels:
        return x

    _layers: dict[type[nn.Module], Callable[..., Channels]] = {  # noqa: RUF012  never changed
        nn.Conv2d: _conv,
        nn.SiLU: _silu,
        nn.MaxPool2d: _max_pool,
        nn.Upsample: _upsample,
        nn.Identity: _identity,
    }

    def _give(
        self, name: str, op: str, inputs: list[str], width: int, **attributes: Any
    ) -> Channels:
        self._widths[self._builder.add(op, inputs, name, **attributes)] = width
        return self._whole(name)

    def _whole(self, tensor: str) -> Channels:
        return [(tensor, i) for i in range(self._widths[tensor])]

    def _join(self, x: Channels) -> tuple[str, list[int]]:
        """Put channels side by side in one tensor, in the order that costs least.

        Returns:
            The tensor, and for each of its channels the place it has in `x`.
        """
        sources = {tensor: rank for rank, tensor in enumerate(dict.fromkeys(t for t, _ in x))}
        order = sorted(range(len(x)), key=lambda i: (sources[x[i][0]], x[i][1]))
        parts = [
            self._pick(tensor, [x[i][1] for i in order if x[i][0] == tensor]) for tensor in sources
        ]
        if len(parts) == 1:
            return parts[0], order
        joined = self._builder.add("Concat", parts, f"join_{len(self._widths)}", axis=1)
        self._widths[joined] = len(x)
        return joined, order

    def _pick(self, tensor: str, channels: list[int]) -> str:
        if channels == list(range(self._widths[tensor])):
            return tensor
        name = f"pick_{len(self._widths)}"
        indices = self._builder.constant(f"{name}.channels", channels, np.int64)
        self._widths[name] = len(channels)
        return self._builder.add("Gather", [tensor, indices], name, axis=1)

    def _compact(self, x: Channels) -> Channels:
        """The same channels in one tensor, for a value that several layers read."""
        if len({tensor for tensor, _ in x}) == 1 and len(x) == self._widths[x[0][0]]:
            return x
        tensor, order = self._join(x)
        return _permuted(self._whole(tensor), order)

    def _in_order(self, x: Channels) -> str:
        tensor, order = self._join(x)
        if order == list(range(len(x))):
            return tensor
        return self._pick(tensor, [order.index(i) for i in range(len(x))])


def _permuted(result: Channels, order: list[int]) -> Channels:
    """Undo a change of order: channel `order[i]` lies at place i of the result."""
    places: Channels = [("", 0)] * len(order)
    for place, channel in enumerate(order):
        places[channel] = result[place]
    return places
