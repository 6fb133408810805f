"""Triton Python-backend model: pixels in, faces out, all in one ONNX graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

OUTPUTS = ("faces", "face_count")


class TritonPythonModel:
    """Runs each request by itself, and a batch as the graph takes it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the ONNX file beside this one."""
        parameters = json.loads(args["model_config"])["parameters"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"]["string_value"])
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(Path(__file__).with_name("model.onnx"))
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; a bad one fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            inputs = {
                name: np.ascontiguousarray(
                    pb_utils.get_input_tensor_by_name(request, name).as_numpy()
                )
                for name in ("images", "min_score")
            }
            results = self._session.run(OUTPUTS, inputs)
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        tensors = [pb_utils.Tensor(name, r) for name, r in zip(OUTPUTS, results, strict=True)]
        return pb_utils.InferenceResponse(tensors)
