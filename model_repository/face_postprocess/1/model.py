"""Triton Python-backend model: raw candidates in, faces out."""

from __future__ import annotations

import json
from typing import Any

import face_decoding
import numpy as np
import triton_python_backend_utils as pb_utils


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
            candidates = pb_utils.get_input_tensor_by_name(request, "candidates").as_numpy()
            priors = pb_utils.get_input_tensor_by_name(request, "priors").as_numpy()
            min_score = pb_utils.get_input_tensor_by_name(request, "min_score")
            if min_score is None:
                min_scores = np.full(len(candidates), self._default_min_score)
            else:
                min_scores = min_score.as_numpy().reshape(-1)
            if not ((min_scores >= 0) & (min_scores <= 1)).all():
                raise ValueError("min_score must lie between 0 and 1")
            found = face_decoding.find_faces(candidates, priors, min_scores)
            geometry = pb_utils.get_input_tensor_by_name(request, "geometry")
            if geometry is not None:
                mappings = geometry.as_numpy()
                found = [
                    face_decoding.to_picture(faces, mapping)
                    for faces, mapping in zip(found, mappings, strict=True)
                ]
            faces, counts = face_decoding.pad(found)
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("faces", faces), pb_utils.Tensor("face_count", counts)]
        )
