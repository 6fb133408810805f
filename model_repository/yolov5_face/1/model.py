"""Triton Python-backend model: the detector's ONNX file, on the CPU.

ONNX Runtime runs it, or OpenVINO if the configuration says so.

For servers without an ONNX Runtime backend. It decodes and suppresses as well, since passing the
candidates on to a second Python process costs more than that work itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import face_decoding
import numpy as np
import numpy.typing as npt
import onnxruntime
import triton_python_backend_utils as pb_utils

RAW = ("candidates", "priors")
FACES = ("faces", "face_count")

REQUEST_BYTES = 16 << 20
"""Of the images of a request that has several; one alone may be larger."""

GIVE_BACK_ABOVE = 1280 * 1280
"""Pixels of an image whose memory is not kept for the next one, which takes time."""


class TritonPythonModel:
    """Runs each image by itself: on a CPU a batch is slower, as it fits no cache."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the ONNX file beside this one."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._stride = int(parameters["stride"]["string_value"])
        self._max_side = int(parameters["max_side"]["string_value"])
        self._default_min_score = float(parameters["default_min_score"]["string_value"])
        threads = int(parameters["threads"]["string_value"])
        path = Path(__file__).with_name("model.onnx")
        self._giving_back = None
        if parameters["runtime"]["string_value"] == "openvino":
            # Where it fails the server does not start, and whoever started it asks for the other.
            from openvino_network import OpenVinoNetwork

            self._session = OpenVinoNetwork(path, streams=1, threads=threads)
            return
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads that spin take the cores from the server and from the client.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._giving_back = onnxruntime.RunOptions()
        self._giving_back.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; a bad one fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            images = _tensor(request, "images")
            height, width = images.shape[1:3]
            if not height or not width or height % self._stride or width % self._stride:
                raise ValueError(
                    f"images of {height} x {width} pixels: sides must be multiples of "
                    f"{self._stride}"
                )
            if max(height, width) > self._max_side:
                raise ValueError(
                    f"images of {height} x {width} pixels: sides may have {self._max_side} at most"
                )
            if len(images) > 1 and images.nbytes > REQUEST_BYTES:
                raise ValueError(
                    f"{len(images)} images of {images.nbytes} bytes: several in one request may "
                    f"have {REQUEST_BYTES} together; send them apart"
                )
            raw = self._run(np.ascontiguousarray(images))
            results = self._results(request, raw)
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor(*result) for result in results.items()])

    def _run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """The raw outputs for all images (B, H, W, 3)."""
        is_large = images[0, :, :, 0].size > GIVE_BACK_ABOVE
        options = self._giving_back if is_large else None
        runs = [self._session.run(RAW, {"images": image[None]}, options) for image in images]
        return runs[0] if len(runs) == 1 else [np.concatenate(r) for r in zip(*runs, strict=True)]

    def _results(
        self, request: Any, raw: list[npt.NDArray[np.float32]]
    ) -> dict[str, npt.NDArray[Any]]:
        """What the request asks for, and no more: the raw outputs are half a megabyte."""
        asked = set(request.requested_output_names())
        results: dict[str, npt.NDArray[Any]] = dict(zip(RAW, raw, strict=True))
        if asked & set(FACES):
            found = face_decoding.answer(
                *raw,
                min_scores=_tensor(request, "min_score"),
                geometry=_tensor(request, "geometry"),
                default_min_score=self._default_min_score,
            )
            results |= zip(FACES, found, strict=True)
        return {name: result for name, result in results.items() if name in asked}


def _tensor(request: Any, name: str) -> Any:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()
