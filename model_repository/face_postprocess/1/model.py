"""Triton Python-backend model: raw candidates in, faces out."""

from __future__ import annotations

import json
from typing import Any

import face_decoding
import triton_python_backend_utils as pb_utils

INPUTS = ("candidates", "priors", "min_score", "geometry")


class TritonPythonModel:
    """Decodes and suppresses the candidates of each request by itself."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the threshold for requests that bring none."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._default_min_score = float(parameters["default_min_score"]["string_value"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; a bad one fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            tensors = {name: _tensor(request, name) for name in INPUTS}
            faces, counts = face_decoding.answer(
                tensors["candidates"],
                tensors["priors"],
                min_scores=tensors["min_score"],
                geometry=tensors["geometry"],
                default_min_score=self._default_min_score,
            )
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("faces", faces), pb_utils.Tensor("face_count", counts)]
        )


def _tensor(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()
