"""Triton Python-backend model: the detector and the ensemble's post-processing, in one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import face_decoding
import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

OUTPUTS = ("candidates", "priors")


class TritonPythonModel:
    """Runs each picture by itself."""

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
            images = np.ascontiguousarray(
                pb_utils.get_input_tensor_by_name(request, "images").as_numpy()
            )
            scores = pb_utils.get_input_tensor_by_name(request, "min_score").as_numpy()
            faces = []
            for image, score in zip(images, scores.reshape(-1, 1), strict=True):
                candidates, priors = self._session.run(OUTPUTS, {"images": image[None]})
                faces += face_decoding.find_faces(candidates, priors, score)
            stacked, counts = face_decoding.pad(faces)
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("faces", stacked), pb_utils.Tensor("face_count", counts)]
        )
