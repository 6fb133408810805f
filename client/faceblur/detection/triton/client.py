"""The detector behind a Triton server, over gRPC."""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from faceblur.detection import canary, trace_context
from faceblur.detection.detector import ModelInfo, ModelInput
from faceblur.detection.triton import server_token
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.connection import PRIORITIES, Connection
from faceblur.detection.triton.faults import fault_of, is_greeting_slow
from faceblur.detection.triton.reply import PendingRequest
from faceblur.detection.triton.shared_memory import forget_abandoned_regions
from faceblur.detection.triton.transports import (
    JPEG_ENSEMBLE,
    PIXELS_ENSEMBLE,
    JpegTransport,
    Payload,
    RawTransport,
    RequestTransport,
    SharedMemoryTransport,
    TransportName,
    compare,
    prefers_jpeg,
)
from faceblur.detections import Detections
from faceblur.errors import FaceblurError, ServerError, ServerUnavailableError

logger = logging.getLogger(__name__)

ENSEMBLE = PIXELS_ENSEMBLE
DETECTOR = "yolov5_face"
CLOSE_TIMEOUT_S = 2.0
GREETING_PAUSE_S = 0.1
"""Between gRPC's attempts to connect, each call fails at once."""
REQUEST_BYTES = 16 << 20
"""Canvases of more than that are not sent together."""


class TritonDetector:
    """Sends canvases to an ensemble of a Triton server, or of several in turn.

    Safe to call from several threads; every call has the connection's deadline.

    Raises:
        ServerUnavailableError: Nothing answers there, or it does not serve the ensemble.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._client = open_client(connection)
        try:
            self.model = self._read_model()
            self._transporter = self._choose_transporter()
        except FaceblurError:
            self._client.close()
            raise

    @property
    def transport(self) -> TransportName:
        """How images travel."""
        return self._transporter.name

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection; see `faceblur.detection.detector.Detector`."""
        if not inputs:
            return []
        if len({each.shape for each in inputs}) > 1:
            raise ValueError("canvases of several shapes do not go into one request")
        fitting = REQUEST_BYTES // max(1, inputs[0].nbytes)
        room = max(1, min(self._max_batch, fitting))
        if self.connection.is_shared and self.connection.priority == "batch":
            room = 1
        futures: list[Future[Detections]] = []
        for start in range(0, len(inputs), room):
            futures += self._submit(self._transporter, inputs[start : start + room], min_score)
        return futures

    def submit_by_each(
        self, model_input: ModelInput, *, min_score: float
    ) -> Iterator[Future[Detections]]:
        """Send an input by each region that frames take, the next when the last was answered."""
        if not isinstance(self._transporter, SharedMemoryTransport):
            return
        timeout_s = self.connection.deadline_s
        for parcel in self._transporter.pack_each(model_input, timeout_s=timeout_s):
            request = self._request(1)
            try:
                self._send(request, self._transporter.ensemble, parcel, min_score)
            except InferenceServerException as error:
                request.fail(fault_of(error, self.connection))
            yield request.futures[0]

    def renew(self) -> None:
        """Use none of the regions again: one of them brought the answer to something else.

        Or another server has taken the place of that one, and knows neither them nor its token.
        """
        opener = self._client.plugin()
        if isinstance(opener, server_token.Opener) and self.connection.token is None:
            opener.token = server_token.find(self.connection.address) or opener.token
        if isinstance(self._transporter, SharedMemoryTransport):
            # A server that hangs takes its time to let go of them.
            threading.Thread(target=self._transporter.renew, daemon=True).start()

    def check_size(self, size: int) -> None:
        """Raise a `ServerError` if the server does not take canvases of `size` pixels a side."""
        if self.max_side is not None and size > self.max_side:
            raise ServerError(
                f"the server at {self.connection.address} takes images of {self.max_side} pixels "
                f"a side at most, not {size}; give --size {self.max_side}, or start it with: "
                f"faceblur serve --max-side {size}"
            )

    def server_version(self) -> str:
        """Ask the server for the version of Triton that it is.

        Raises:
            ServerError: It did not say in time.
        """
        try:
            metadata = self._client.get_server_metadata(client_timeout=self.connection.deadline_s)
        except InferenceServerException as error:
            raise fault_of(error, self.connection) from error
        return str(metadata.version)

    def forget_abandoned_regions(self) -> None:
        """Have the server let go of the images of clients that were killed."""
        # A server that takes no regions holds none.
        with contextlib.suppress(InferenceServerException):
            forget_abandoned_regions(self._client, timeout_s=self.connection.deadline_s)

    def close(self) -> None:
        """Close the connection and drop the shared memory."""
        self._transporter.close()
        # gRPC waits for calls under way; one that an interrupt broke off never ends.
        closing = threading.Thread(target=self._client.close, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)

    def _submit(
        self, transporter: RequestTransport, canvases: Sequence[ModelInput], min_score: float
    ) -> list[Future[Detections]]:
        request = self._request(len(canvases))
        try:
            self.check_size(max(canvases[0].shape[:2]))
            self._send(request, transporter.ensemble, transporter.pack(canvases), min_score)
        except InferenceServerException as error:
            request.fail(fault_of(error, self.connection))
        except ServerError as error:
            request.fail(error)
        return request.futures

    def _request(self, images: int) -> PendingRequest:
        return PendingRequest(f"{self._token}-{next(self._numbers)}", images=images)

    def _send(
        self, request: PendingRequest, ensemble: str, parcel: Payload, min_score: float
    ) -> None:
        scores = np.full((len(request.futures), 1), min_score, np.float32)
        lowest = grpcclient.InferInput("min_score", list(scores.shape), "FP32")
        lowest.set_data_from_numpy(scores)
        deadline_s = self.connection.deadline_s * len(request.futures)

        def answered(result: Any, error: InferenceServerException | None) -> None:
            parcel.done(error is not None)
            if error is not None:
                request.fail(fault_of(error, self.connection, deadline_s=deadline_s))
            else:
                request.answer(result)

        try:
            self._client.async_infer(
                ensemble,
                [*parcel.inputs, lowest],
                answered,
                request_id=request.id,
                client_timeout=deadline_s,
                # The server drops what nobody waits for any more.
                timeout=int(deadline_s * 1e6),
                priority=PRIORITIES[self.connection.priority],
                headers=trace_context.headers(),
            )
        except InferenceServerException:
            parcel.done(True)
            raise

    def _read_model(self) -> ModelInfo:
        timeout_s = self.connection.deadline_s
        try:
            if not self._is_served(timeout_s):
                raise ServerUnavailableError(
                    f"the server at {self.connection.address} does not serve {ENSEMBLE}; start "
                    "one with: faceblur serve"
                )
            config = self._client.get_model_config(DETECTOR, client_timeout=timeout_s).config
        except InferenceServerException as error:
            raise fault_of(error, self.connection) from error
        self._max_batch = config.max_batch_size
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        self.runs_on = parameters.get("runs_on", "")
        self.max_side = int(parameters["max_side"]) if "max_side" in parameters else None
        return ModelInfo(
            name=parameters.get("model_name", "unknown"),
            sha256=parameters.get("model_sha256", ""),
            stride=int(parameters.get("stride", 32)),
        )

    def _is_served(self, timeout_s: float) -> bool:
        """Whether the server has the ensemble; it may take its time to greet the first call."""
        end_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.001, end_s - time.monotonic())
            try:
                return bool(self._client.is_model_ready(ENSEMBLE, client_timeout=left_s))
            except InferenceServerException as error:
                # gRPC gives each attempt a second, and calls fail with it: see `channel`.
                if not is_greeting_slow(error) or time.monotonic() >= end_s:
                    raise
            time.sleep(GREETING_PAUSE_S)

    def _choose_transporter(self) -> RequestTransport:
        wanted, address = self.connection.transport, self.connection.address
        if wanted == "raw":
            return RawTransport()
        if wanted == "jpeg":
            if not self._serves_jpeg():
                raise ServerError(
                    f"the server at {address} does not serve {JPEG_ENSEMBLE}; use --transport "
                    "raw, or bring its model repository up to date"
                )
            return JpegTransport()
        try:
            if not self.connection.is_several:
                return SharedMemoryTransport(self._client, timeout_s=self.connection.deadline_s)
        except ServerError as error:
            if wanted == "shm":
                raise ServerError(
                    f"the server at {address} is not used: {error}; use --transport auto"
                ) from error
            logger.debug("no shared memory with %s: %s", address, error)
        return self._measure_transporters()

    def _measure_transporters(self) -> RequestTransport:
        """Pixels or JPEG, whichever brings an image there and back sooner."""
        raw, jpeg = RawTransport(), JpegTransport()
        if not self._serves_jpeg():
            return raw
        raw_s, jpeg_s = compare(
            lambda canvas: self._submit(raw, [canvas], canary.MIN_SCORE)[0],
            lambda canvas: self._submit(jpeg, [canvas], canary.MIN_SCORE)[0],
            canary.check_image(),
            deadline_s=self.connection.deadline_s,
        )
        takes_jpeg = prefers_jpeg(raw_s=raw_s, jpeg_s=jpeg_s)
        logger.info(
            "images go to %s as %s: there and back in %.0f ms as pixels, %.0f ms as JPEG",
            self.connection.address,
            "JPEG" if takes_jpeg else "pixels",
            raw_s * 1e3,
            jpeg_s * 1e3,
        )
        return jpeg if takes_jpeg else raw

    def _serves_jpeg(self) -> bool:
        try:
            timeout_s = self.connection.deadline_s
            return bool(self._client.is_model_ready(JPEG_ENSEMBLE, client_timeout=timeout_s))
        except InferenceServerException as error:
            raise fault_of(error, self.connection) from error
