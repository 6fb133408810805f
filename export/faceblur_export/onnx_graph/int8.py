"""A detector in single precision turned into one whose convolutions compute in INT8.

Current TensorRT takes every type from the graph, so an INT8 plan means an ONNX file with
QuantizeLinear and DequantizeLinear around what computes in INT8 (Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). ONNX
Runtime's quantiser puts them there: weights by channel and activations by tensor, both symmetric,
as TensorRT takes them; biases and what the convolutions give stay in FP32.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import ModelProto, NodeProto

from faceblur.errors import ModelError
from faceblur_export.extras import needing
from faceblur_export.onnx_graph.calibration import Calibration
from faceblur_export.onnx_graph.file import metadata_of
from faceblur_export.progress import ShowShare

METHOD: Final = "mean of the frames' extremes"
"""How ranges are taken. The extremes of all frames leave too few steps for the rest, and cost many
AP50 points: perf/run calibration."""

OPTIONS: Final = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": ["Conv"],
    "CalibMovingAverage": True,
}


def to_int8(
    model: ModelProto, calibration: Calibration, progress: ShowShare = lambda _: None
) -> ModelProto:
    """Make a detector whose convolutions compute in INT8.

    In FP32 remain: everything but convolutions, so ranking, decoding and priors; the heads and the
    convolutions just before them; the first one, which sees raw pixels; and depthwise
    convolutions, which lose most by few steps and gain next to nothing.

    Args:
        model: A detector in FP32, as `detector_graph` makes it.
        calibration: Frames that show what the detector will see.
        progress: Called with the share of the frames that is done.

    Raises:
        ModelError: It is something else, or ONNX Runtime is missing.
    """
    metadata = metadata_of(model)
    if metadata.get("precision") != "fp32":
        raise ModelError("only an FP32 detector made by faceblur-export onnx can become INT8")
    with needing("export"):
        from onnxruntime import quantization
    with tempfile.TemporaryDirectory(prefix="faceblur-") as folder, _quiet():
        # As a file: from a message it would take the weights out.
        source, output = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(model.SerializeToString())
        quantization.quantize_static(
            source,
            output,
            _reader(quantization, calibration, progress),
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=sorted(left_single(model)),
            per_channel=True,
            activation_type=quantization.QuantType.QInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options=dict(OPTIONS),
        )
        quantised = onnx.load(output)
    metadata |= {
        "precision": "int8",
        "calibration": calibration.source,
        "calibration_frames": str(len(calibration.canvases)),
        "calibration_method": METHOD,
        "calibration_sha256": calibration.sha256,
    }
    onnx.helper.set_model_props(quantised, metadata)
    quantised.producer_name = model.producer_name
    return quantised


def left_single(model: ModelProto) -> set[str]:
    """Names of the convolutions that stay in FP32."""
    nodes = {output: node for node in model.graph.node for output in node.output}
    shapes = {constant.name: list(constant.dims) for constant in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    # Whatever is reshaped into rows comes from a head.
    heads = {
        name
        for node in model.graph.node
        if node.op_type == "Transpose" and node.name.endswith(".nhwc")
        for name in _convolutions_before(node, nodes)
    }
    last = {name for head in heads for name in _convolutions_before(nodes[head], nodes)}
    depthwise = {node.name for node in convolutions if shapes[node.input[1]][1] == 1}
    first = {node.name for node in convolutions if not _convolutions_before(node, nodes)}
    return heads | last | depthwise | first


def _convolutions_before(node: NodeProto, nodes: dict[str, NodeProto]) -> set[str]:
    """The convolutions that a node's input comes from, others between them left out."""
    waiting, found = [node.input[0]], set()
    while waiting:
        source = nodes.get(waiting.pop())
        if source is None:
            continue
        if source.op_type == "Conv":
            found.add(source.name)
        else:
            waiting.extend(source.input)
    return found


def _reader(quantization: Any, calibration: Calibration, progress: ShowShare) -> Any:
    """What ONNX Runtime asks for one frame after the other."""

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # found at run time
        def __init__(self) -> None:
            self._frames = self._each()

        def _each(self) -> Iterator[dict[str, Any]]:
            for index, canvas in enumerate(calibration.canvases):
                progress(index / len(calibration.canvases))
                yield {"images": canvas[None]}

        def get_next(self) -> dict[str, Any] | None:
            return next(self._frames, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep its advice to others off the terminal: it is given to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
