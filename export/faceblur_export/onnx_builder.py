"""A thin layer over `onnx.helper`: nodes and constants with names, in the order they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

OPSET: Final = 17
IR_VERSION: Final = 8


class OnnxBuilder:
    """Collects the nodes and constants of one graph."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Add a node with one output; the output has the node's name, and is returned."""
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def add_top_k(self, values: str, k: str, name: str) -> str:
        """Add a TopK over the last axis, sorted; its indices are returned."""
        outputs = [f"{name}_values", name]
        self._nodes.append(helper.make_node("TopK", [values, k], outputs, name=name, axis=-1))
        return name

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Add a constant, once for each name."""
        if name not in self._constants:
            array = np.asarray(value, dtype, order="C")
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def model(
        self,
        inputs: dict[str, tuple[int, Sequence[str | int]]],
        outputs: dict[str, tuple[int, Sequence[str | int]]],
        metadata: dict[str, str],
    ) -> Any:
        """Make the ONNX model.

        Args:
            inputs: Element type and shape by name.
            outputs: The same for what nodes of these names give.
            metadata: What the file says of itself.
        """
        graph = helper.make_graph(
            self._nodes,
            "faceblur",
            [helper.make_tensor_value_info(k, *v) for k, v in inputs.items()],
            [helper.make_tensor_value_info(k, *v) for k, v in outputs.items()],
            initializer=list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], producer_name="faceblur-export", ir_version=IR_VERSION
        )
        helper.set_model_props(model, metadata)
        return model


FLOAT: Final = TensorProto.FLOAT
FLOAT16: Final = TensorProto.FLOAT16
INT32: Final = TensorProto.INT32
UINT8: Final = TensorProto.UINT8
