"""Triton Python-backend model: the detector's ONNX file, on the CPU or on a GPU.

ONNX Runtime runs it, or OpenVINO if the configuration says so.

For servers without an ONNX Runtime backend. It decodes and suppresses as well, since passing the
candidates on to a second Python process costs more than that work itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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


GPU = re.compile(r"gpu(\d+)")
"""How the name of an instance says which one is its own."""


class TritonPythonModel:
    """Runs each image by itself on a CPU, where a batch is slower, as it fits no cache.

    On a GPU requests of one shape are run together.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Load the ONNX file beside this one."""
        parameters = json.loads(args["model_config"])["parameters"]
        self._stride = int(parameters["stride"]["string_value"])
        self._max_side = int(parameters["max_side"]["string_value"])
        self._default_min_score = float(parameters["default_min_score"]["string_value"])
        threads = int(parameters["threads"]["string_value"])
        path = Path(__file__).with_name("model.onnx")
        self._giving_back = None
        self._batch = 1
        if parameters["runtime"]["string_value"] in ("cuda", "tensorrt"):
            self._open_gpu(path, args["model_instance_name"], parameters)
            return
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

    def _open_gpu(self, path: Path, instance: str, parameters: dict[str, Any]) -> None:
        """Run on the instance's GPU, or fail: then the server does not start."""
        from gpu_network import open_network

        how = {key: value["string_value"] for key, value in parameters.items()}
        found = GPU.match(instance)
        self._batch = int(how["gpu_batch"])
        self._full_from = int(how["gpu_full_from"])
        self._session = open_network(
            path,
            provider=how["gpu_provider"],
            device=int(found[1]) if found else 0,
            precision=how["gpu_precision"],
            memory_bytes=int(how["gpu_memory_bytes"]),
            batch=self._batch,
            max_side=self._max_side,
            engines=how["gpu_engines"] or None,
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request; a bad one fails alone."""
        if self._batch > 1 and len(requests) > 1:
            return self._answer_together(requests)
        return [self._answer(request) for request in requests]

    def _answer_together(self, requests: list[Any]) -> list[Any]:
        """Run what has one shape in one batch; what cannot be run so, by itself."""
        answers: dict[int, Any] = {}
        for members in self._batches(requests):
            try:
                images = [_tensor(requests[member], "images") for member in members]
                raw = self._run(np.concatenate(images))
                ends = np.cumsum([len(each) for each in images])[:-1]
                parts = zip(*(np.split(each, ends) for each in raw), strict=True)
                for member, part in zip(members, parts, strict=True):
                    answers[member] = self._response(requests[member], list(part))
            except Exception:  # noqa: BLE001  whose fault it is shows when each is alone
                answers |= {member: self._answer(requests[member]) for member in members}
        return [answers[member] for member in range(len(requests))]

    def _batches(self, requests: list[Any]) -> list[list[int]]:
        """Indices of requests that are run together; one that cannot be checked is alone."""
        batches: list[list[int]] = []
        room: dict[tuple[int, ...], tuple[list[int], int]] = {}
        for member, request in enumerate(requests):
            try:
                images = _tensor(request, "images")
                self._check(images)
            except Exception:  # noqa: BLE001  it is told so where it is answered
                batches.append([member])
                continue
            members, free = room.get(images.shape[1:], ([], 0))
            if len(images) > free:
                most = REQUEST_BYTES * len(images) // images.nbytes
                members, free = [], max(len(images), min(self._batch, most))
                batches.append(members)
            members.append(member)
            room[images.shape[1:]] = members, free - len(images)
        return batches

    def _answer(self, request: Any) -> Any:
        try:
            images = _tensor(request, "images")
            self._check(images)
            return self._response(request, self._run(np.ascontiguousarray(images)))
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))

    def _response(self, request: Any, raw: list[npt.NDArray[np.float32]]) -> Any:
        results = self._results(request, raw)
        return pb_utils.InferenceResponse([pb_utils.Tensor(*result) for result in results.items()])

    def _check(self, images: npt.NDArray[np.uint8]) -> None:
        """Refuse images that are too large, or that no network takes."""
        height, width = images.shape[1:3]
        if not height or not width or height % self._stride or width % self._stride:
            raise ValueError(
                f"images of {height} x {width} pixels: sides must be multiples of {self._stride}"
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

    def _run(self, images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """The raw outputs for all images (B, H, W, 3)."""
        if self._batch > 1:
            runs = list(self._gpu_runs(images))
        else:
            is_large = images[0, :, :, 0].size > GIVE_BACK_ABOVE
            options = self._giving_back if is_large else None
            runs = [self._session.run(RAW, {"images": image[None]}, options) for image in images]
        return runs[0] if len(runs) == 1 else [np.concatenate(r) for r in zip(*runs, strict=True)]

    def _gpu_runs(self, images: npt.NDArray[np.uint8]) -> Iterator[list[npt.NDArray[np.float32]]]:
        """The raw outputs, run singly or in full batches, filled up with black.

        At each new shape cuDNN looks for its algorithms, for seconds: two sizes of batch are two
        shapes, which the warm-up has seen.
        """
        fits = images[0].nbytes * self._batch <= REQUEST_BYTES
        for start in range(0, len(images), self._batch):
            part = images[start : start + self._batch]
            if fits and len(part) >= self._full_from:
                full = np.zeros((self._batch, *part.shape[1:]), np.uint8)
                full[: len(part)] = part
                run = self._session.run(RAW, {"images": full})
                yield [each[: len(part)] for each in run]
            else:
                yield from (self._session.run(RAW, {"images": image[None]}) for image in part)

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
