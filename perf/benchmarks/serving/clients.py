"""Clients of the ways to divide the work: several images in a request, and other topologies."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as grpcclient

from benchmarks.analyzer.server import DETECTOR_ALONE
from faceblur.detection import decoding as postprocess
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.shared_memory import SharedMemoryPool
from faceblur.detections import Detections

DEADLINE_S = 30.0

Canvas = npt.NDArray[np.uint8]


class TopologyClient:
    """Sends images through shared memory, as the product's client does.

    Args:
        address: host:port of the server.
        model: What to ask; for the detector alone the faces are found here.
        batch: Images in a request.
    """

    def __init__(self, address: str, model: str, *, batch: int = 1) -> None:
        self.batch = batch
        self._client = open_client(Connection(address=address))
        self._slots = SharedMemoryPool(self._client, timeout_s=DEADLINE_S)
        self._model = model
        self._raw = model == DETECTOR_ALONE
        self._scores = np.full((batch, 1), DEFAULT_THRESHOLD, np.float32)

    def close(self) -> None:
        """Drop the shared memory."""
        self._slots.close()
        self._client.close()

    def send(self, canvases: Sequence[Canvas]) -> Future[list[Detections]]:
        """Detect faces in as many images as a request has."""
        slot = self._slots.take(canvases)
        images = grpcclient.InferInput("images", [len(canvases), *canvases[0].shape], "UINT8")
        images.set_shared_memory(slot.name, len(canvases) * canvases[0].nbytes)
        inputs = [images]
        if not self._raw:
            inputs.append(grpcclient.InferInput("min_score", [self.batch, 1], "FP32"))
            inputs[1].set_data_from_numpy(self._scores)
        future: Future[list[Detections]] = Future()

        def answered(result: Any, error: Exception | None) -> None:
            self._slots.give_back(slot)
            if error is not None:
                future.set_exception(error)
                return
            try:
                future.set_result(self._read(result))
            except Exception as failure:  # noqa: BLE001  the one who waits for it must learn of it
                future.set_exception(failure)

        self._client.async_infer(self._model, inputs, answered, client_timeout=DEADLINE_S)
        return future

    def _read(self, result: Any) -> list[Detections]:
        if self._raw:
            outputs = (result.as_numpy("candidates"), result.as_numpy("priors"))
            faces = postprocess.find_faces(*outputs, self._scores[:, 0])
        else:
            rows, counts = result.as_numpy("faces"), result.as_numpy("face_count")
            faces = [each[: int(n)] for each, n in zip(rows, counts[:, 0], strict=True)]
        return [Detections.from_rows(each) for each in faces]
