"""A detector in single precision turned into one that computes in half precision.

Current TensorRT takes every type from the graph, so an FP16 plan means an FP16 ONNX file. Only
`onnx` is needed: it works where a plan is built and PyTorch is not installed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faceblur.errors import ModelError
from faceblur_export.onnx_graph.file import metadata_of

TYPED_INPUTS: Final = ("Conv", "Expand")
"""Operations whose constants decide the type of what they give."""

RANKED_AND_GIVEN: Final = ("objectness", "candidates")
"""What is single again: the ranking needs its resolution, the output its type."""


def to_half(model: ModelProto) -> None:
    """Make a detector compute in FP16; input, outputs, ranking and priors keep their types.

    Args:
        model: A detector in FP32, as `detector_graph` makes it. It is changed in place.

    Raises:
        ModelError: It is something else.
    """
    metadata = metadata_of(model)
    if metadata.get("precision") != "fp32":
        raise ModelError("only an FP32 detector made by faceblur-export onnx can become FP16")
    helper.set_model_props(model, metadata | {"precision": "fp16"})
    constants = {constant.name: constant for constant in model.graph.initializer}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        nodes.append(node)
        if node.op_type in TYPED_INPUTS:
            for name in node.input:
                _halve(constants.get(name))
        elif list(node.input) == ["images"] and node.op_type == "Cast":
            node.attribute[0].i = TensorProto.FLOAT16
        elif node.name in RANKED_AND_GIVEN:
            nodes.append(_back_to_single(node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _halve(constant: Any) -> None:
    if constant is not None and constant.data_type == TensorProto.FLOAT:
        constant.raw_data = numpy_helper.to_array(constant).astype(np.float16).tobytes()
        constant.data_type = TensorProto.FLOAT16


def _back_to_single(node: NodeProto) -> NodeProto:
    """Rename what a node gives, and make the cast that gives it in FP32 under the old name."""
    name = node.output[0]
    node.output[0] = node.name = f"{name}_fp16"
    return helper.make_node("Cast", [node.output[0]], [name], name=name, to=TensorProto.FLOAT)
