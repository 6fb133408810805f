"""Triton Python-backend model: JPEG in, letterboxed pixels and their geometry out."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jpeg_header
import letterboxing
import numpy as np
import triton_python_backend_utils as pb_utils
from image_decoder import ImageDecoder, find_decoder

MAX_THREADS = 2
"""Of one of the two processes; each holds one decoded image."""


class TritonPythonModel:
    """Decodes all images of a batch side by side; a bad one fails its own request alone.

    Without a decoder it loads all the same, so that the server serves pixels, and refuses every
    request.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Read the bounds, and look for a decoder."""
        parameters = json.loads(args["model_config"])["parameters"]
        values = {name: int(value["string_value"]) for name, value in parameters.items()}
        self._stride, self._size = values["stride"], values["size"]
        self._max_size, self._max_pixels = values["max_size"], values["max_pixels"]
        self._decoder: ImageDecoder | None = None
        self._reason = ""
        try:
            self._decoder = find_decoder()
        except ImportError as error:
            self._reason = str(error)
            logging.getLogger(__name__).warning("%s", error)
        threads = min(MAX_THREADS, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(threads)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request."""
        begun = [self._begin(request) for request in requests]
        return [self._finish(each) for each in begun]

    def finalize(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, request: Any) -> _Begun | Exception:
        try:
            if self._decoder is None:
                raise ValueError(self._reason)
            files = pb_utils.get_input_tensor_by_name(request, "jpeg").as_numpy().reshape(-1)
            sizes = [jpeg_header.read_size(data, max_pixels=self._max_pixels) for data in files]
            placements = letterboxing.place(
                sizes, size=self._asked_size(request), stride=self._stride
            )
            height, width = placements[0].shape
            if len(placements) * height * width > self._max_pixels:
                raise ValueError(f"model inputs have {self._max_pixels} pixels at most")
            geometry = [
                letterboxing.mapping(size, p.resized, p.left, p.top)
                for size, p in zip(sizes, placements, strict=True)
            ]
            return _Begun(
                [
                    self._pool.submit(_model_input, self._decoder, data, size, placement)
                    for data, size, placement in zip(files, sizes, placements, strict=True)
                ],
                np.stack(geometry),
            )
        except Exception as error:  # noqa: BLE001  any failure belongs to this request alone
            return error

    def _asked_size(self, request: Any) -> int:
        tensor = pb_utils.get_input_tensor_by_name(request, "size")
        if tensor is None:
            return self._size
        sizes = set(tensor.as_numpy().reshape(-1).tolist())
        if len(sizes) != 1:
            raise ValueError("the images of one request share one size; send them apart")
        (size,) = sizes
        if not self._stride <= size <= self._max_size:
            raise ValueError(f"size must lie between {self._stride} and {self._max_size}")
        return int(size)

    def _finish(self, begun: _Begun | Exception) -> Any:
        try:
            if isinstance(begun, Exception):
                raise begun
            images = np.stack([model_input.result() for model_input in begun.model_inputs])
        except Exception as error:  # noqa: BLE001  as above
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("images", images), pb_utils.Tensor("geometry", begun.geometry)]
        )


class _Begun:
    """A request whose images are being decoded."""

    def __init__(self, model_inputs: list[Future[Any]], geometry: Any) -> None:
        self.model_inputs = model_inputs
        self.geometry = geometry


def _model_input(
    decoder: ImageDecoder,
    data: bytes,
    size: tuple[int, int],
    placement: letterboxing.Placement,
) -> Any:
    image = letterboxing.stretched(decoder.read(data, size, placement.resized))
    return letterboxing.paste(image, placement.shape, placement.left, placement.top)
