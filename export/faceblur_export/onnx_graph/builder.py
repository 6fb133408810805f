"""A thin layer over ONNX's messages: nodes and constants with names, in the order they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 8

FLOAT: Final = TensorProto.FLOAT
INT32: Final = TensorProto.INT32
UINT8: Final = TensorProto.UINT8

Shape = Sequence["str | int"]
"""Sides of a tensor; those that are free have a name."""


class OnnxBuilder:
    """Builds one model, in place: weights are never copied from message to message."""

    def __init__(self) -> None:
        self._model = ModelProto(ir_version=IR_VERSION, producer_name="faceblur-export")
        self._model.opset_import.add(domain="", version=OPSET)
        self._graph: Any = self._model.graph
        self._graph.name = "faceblur"
        self._constants: set[str] = set()

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output; the output has the node's name, and is returned."""
        self._graph.node.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def add_top_k(self, values: str, k: str, name: str) -> str:
        """Add a TopK over the last axis, sorted; its indices are returned."""
        outputs = [f"{name}_values", name]
        self._graph.node.append(helper.make_node("TopK", [values, k], outputs, name=name, axis=-1))
        return name

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Add a constant, once for each name."""
        if name not in self._constants:
            self._constants.add(name)
            self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def model(
        self,
        inputs: dict[str, tuple[int, Shape]],
        outputs: dict[str, tuple[int, Shape]],
        metadata: dict[str, str],
    ) -> ModelProto:
        """Finish the model: element types and shapes by name, and what the file says of itself."""
        for values, described in ((self._graph.input, inputs), (self._graph.output, outputs)):
            values.extend(helper.make_tensor_value_info(k, *v) for k, v in described.items())
        helper.set_model_props(self._model, metadata)
        return self._model
