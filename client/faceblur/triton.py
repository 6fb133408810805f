"""The detector behind a Triton server, over gRPC."""

from __future__ import annotations

import itertools
import json
import logging
import re
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from faceblur import canary
from faceblur.connection import Connection
from faceblur.detections import ROW_WIDTH, Detections
from faceblur.detector import Canvas, ModelInfo
from faceblur.errors import (
    DeadlineError,
    FaceblurError,
    ReplyError,
    ServerError,
    ServerUnavailableError,
)
from faceblur.transport_choice import compare
from faceblur.transports import (
    JPEG_ENSEMBLE,
    PIXELS_ENSEMBLE,
    JpegTransport,
    Parcel,
    RawTransport,
    SharedMemoryTransport,
    Transporter,
    TransportName,
)

logger = logging.getLogger(__name__)

ENSEMBLE = PIXELS_ENSEMBLE
DETECTOR = "yolov5_face"
CLOSE_TIMEOUT_S = 2.0
REQUEST_BYTES = 16 << 20
"""Canvases of more than that are not sent together."""

CHANNEL_OPTIONS = [
    # A 4K canvas has 25 MB; gRPC's own limit is 4.
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_receive_message_length", 16 << 20),
    # gRPC's own backoff grows to two minutes, and a camera stays masked for as long.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Also how long a connection may take that was accepted; 20 s by default.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    # Two clients never share a connection: a new one is the way out of one that is beyond repair.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that hangs, or whose network was cut, is noticed though its connection stands.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
]

_BALANCING = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            # The next try goes to the next server: one that was killed, or whose Python backend
            # died (which is an internal error), costs no frame.
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL"],
            },
        }
    ],
}
"""gRPC's service config for an address that may stand for several servers.

Which of them are well is told by their connections, kept alive, and by the retries: Triton does not
serve gRPC's own health watch.
"""

SEVERAL_OPTIONS = [
    *CHANNEL_OPTIONS,
    ("grpc.service_config", json.dumps(_BALANCING)),
    # What is larger than this is not tried again.
    ("grpc.per_rpc_retry_buffer_size", 64 << 20),
    # Names are looked up anew this often at most, so that servers may come and go.
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
]


class TritonDetector:
    """Sends canvases to an ensemble of a Triton server, or of several in turn.

    Safe to call from several threads; every call has the connection's deadline.

    Args:
        connection: Where the server is.

    Raises:
        ServerUnavailableError: Nothing answers there, or it does not serve the ensemble.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._client = _open(connection)
        try:
            self.model = self._read_model()
            self._transporter = self._choose_transporter()
        except FaceblurError:
            self._client.close()
            raise

    @property
    def transport(self) -> TransportName:
        """How pictures travel."""
        return self._transporter.name

    def submit(self, canvas: Canvas, *, min_score: float) -> Future[Detections]:
        """Start looking for faces; see `faceblur.detector.Detector`."""
        return self._submit(self._transporter, [canvas], min_score)[0]

    def submit_batch(
        self, canvases: Sequence[Canvas], *, min_score: float
    ) -> list[Future[Detections]]:
        """Start looking for faces; see `faceblur.detector.BatchDetector`."""
        if not canvases:
            return []
        if len({canvas.shape for canvas in canvases}) > 1:
            raise ValueError("canvases of several shapes do not go into one request")
        fitting = REQUEST_BYTES // max(1, canvases[0].nbytes)
        room = max(1, min(self._max_batch, fitting))
        futures: list[Future[Detections]] = []
        for start in range(0, len(canvases), room):
            futures += self._submit(self._transporter, canvases[start : start + room], min_score)
        return futures

    def server_version(self) -> str:
        """Ask the server for the version of Triton that it is.

        Raises:
            ServerError: It did not say in time.
        """
        try:
            metadata = self._client.get_server_metadata(client_timeout=self.connection.deadline_s)
        except InferenceServerException as error:
            raise self._error(error) from error
        return str(metadata.version)

    def close(self) -> None:
        """Close the connection and drop the shared memory."""
        self._transporter.close()
        # gRPC waits for calls under way; one that an interrupt broke off never ends.
        closing = threading.Thread(target=self._client.close, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)

    def _submit(
        self, transporter: Transporter, canvases: Sequence[Canvas], min_score: float
    ) -> list[Future[Detections]]:
        request = _Request(f"{self._token}-{next(self._numbers)}", pictures=len(canvases))
        try:
            self._send(request, transporter.ensemble, transporter.pack(canvases), min_score)
        except InferenceServerException as error:
            request.fail(self._error(error))
        except ServerError as error:
            request.fail(error)
        return request.futures

    def _send(self, request: _Request, ensemble: str, parcel: Parcel, min_score: float) -> None:
        scores = np.full((len(request.futures), 1), min_score, np.float32)
        lowest = grpcclient.InferInput("min_score", list(scores.shape), "FP32")
        lowest.set_data_from_numpy(scores)
        deadline_s = self.connection.deadline_s * len(request.futures)

        def answered(result: Any, error: InferenceServerException | None) -> None:
            parcel.done(error is not None)
            if error is not None:
                request.fail(self._error(error, deadline_s=deadline_s))
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
            )
        except InferenceServerException:
            parcel.done(True)
            raise

    def _read_model(self) -> ModelInfo:
        timeout_s = self.connection.deadline_s
        try:
            if not self._client.is_model_ready(ENSEMBLE, client_timeout=timeout_s):
                raise ServerUnavailableError(
                    f"the server at {self.connection.address} does not serve {ENSEMBLE}; start "
                    "one with: faceblur serve"
                )
            config = self._client.get_model_config(DETECTOR, client_timeout=timeout_s).config
        except InferenceServerException as error:
            raise self._error(error) from error
        self._max_batch = config.max_batch_size
        parameters = {key: value.string_value for key, value in config.parameters.items()}
        return ModelInfo(
            name=parameters.get("model_name", "unknown"),
            sha256=parameters.get("model_sha256", ""),
            stride=int(parameters.get("stride", 32)),
        )

    def _choose_transporter(self) -> Transporter:
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

    def _measure_transporters(self) -> Transporter:
        """Pixels or JPEG, whichever brings a picture there and back sooner."""
        raw, jpeg = RawTransport(), JpegTransport()
        if not self._serves_jpeg():
            return raw
        times = compare(
            lambda canvas: self._submit(raw, [canvas], canary.MIN_SCORE)[0],
            lambda canvas: self._submit(jpeg, [canvas], canary.MIN_SCORE)[0],
            canary.picture(),
            deadline_s=self.connection.deadline_s,
        )
        chosen: Transporter = jpeg if times.prefers_jpeg else raw
        logger.info(
            "pictures go to %s as %s: there and back in %.0f ms as pixels, %.0f ms as JPEG",
            self.connection.address,
            "JPEG" if times.prefers_jpeg else "pixels",
            times.raw_s * 1e3,
            times.jpeg_s * 1e3,
        )
        return chosen

    def _serves_jpeg(self) -> bool:
        try:
            return bool(
                self._client.is_model_ready(
                    JPEG_ENSEMBLE, client_timeout=self.connection.deadline_s
                )
            )
        except InferenceServerException as error:
            raise self._error(error) from error

    def _error(
        self, error: InferenceServerException, *, deadline_s: float | None = None
    ) -> ServerError:
        status, address = error.status() or "", self.connection.address
        if "DEADLINE_EXCEEDED" in status:
            waited_s = self.connection.deadline_s if deadline_s is None else deadline_s
            return DeadlineError(f"the server at {address} did not answer within {waited_s:g} s")
        if "UNAVAILABLE" in status:
            if self.connection.tls is not None and (reason := _tls_reason(error.message())):
                return ServerUnavailableError(f"no safe connection to {address}: {reason}")
            return ServerUnavailableError(
                f"no server answers at {address}; start one with: faceblur serve"
            )
        return ServerError(f"the server at {address} failed: {error.message()}")


class _Request:
    """Pictures under way together."""

    def __init__(self, request_id: str, *, pictures: int) -> None:
        self.id = request_id
        self.futures: list[Future[Detections]] = [Future() for _ in range(pictures)]

    def fail(self, error: ServerError) -> None:
        for future in self.futures:
            # Whoever waited for this one may have given it up; the others are still waited for.
            with suppress(InvalidStateError):
                future.set_exception(error)

    def answer(self, result: Any) -> None:
        try:
            found = read_reply(result, request_id=self.id, pictures=len(self.futures))
        except ReplyError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001  a reply that breaks the reader is no answer
            self.fail(ReplyError(f"the server's answer cannot be read: {error}"))
        else:
            for future, faces in zip(self.futures, found, strict=True):
                with suppress(InvalidStateError):
                    future.set_result(faces)


def read_reply(result: Any, *, request_id: str, pictures: int = 1) -> list[Detections]:
    """Take the faces of each picture from a reply, trusting nothing of it.

    Args:
        result: A `tritonclient.grpc.InferResult`.
        request_id: The id that the request carried.
        pictures: How many it carried.

    Raises:
        ReplyError: It answers another request, or is not as many well-formed lists of faces.
    """
    if result.get_response().id != request_id:
        raise ReplyError("the server answered another request than the one asked")
    faces, counts = result.as_numpy("faces"), result.as_numpy("face_count")
    if faces is None or counts is None:
        raise ReplyError("the server's answer lacks faces or face_count")
    if faces.dtype != np.float32 or faces.ndim != 3 or faces.shape[::2] != (pictures, ROW_WIDTH):
        raise ReplyError(f"the server's faces have the shape {faces.shape}")
    if counts.shape != (pictures, 1) or not ((counts >= 0) & (counts <= faces.shape[1])).all():
        raise ReplyError("the server's face_count does not fit its faces")
    return [_checked(rows[: int(count)]) for rows, count in zip(faces, counts[:, 0], strict=True)]


def _checked(rows: npt.NDArray[np.float32]) -> Detections:
    well_formed = (
        np.isfinite(rows).all()
        and (rows[:, 0:2] <= rows[:, 2:4]).all()
        and ((rows[:, 4] >= 0) & (rows[:, 4] <= 1)).all()
    )
    if not well_formed:
        raise ReplyError("the server's faces hold values that no face can have")
    return Detections.from_rows(rows)


def _tls_reason(message: str) -> str:
    """Why a connection was not made, in words for a person; empty if nothing is known."""
    if refused := re.search(r"CERTIFICATE_VERIFY_FAILED: ([^:]+)", message):
        return f"the server's certificate is refused ({refused[1]}); check --tls-ca and its dates"
    if "Hostname Verification" in message:
        return "the server's certificate is for another name; connect by the name it is for"
    if "Socket closed" in message:
        return (
            "the server ended it; check that it speaks TLS and takes the certificate of --tls-cert"
        )
    return ""


def _open(connection: Connection) -> grpcclient.InferenceServerClient:
    tls = connection.tls
    return grpcclient.InferenceServerClient(
        connection.address,
        ssl=tls is not None,
        root_certificates=_text(tls.root_ca if tls else None),
        private_key=_text(tls.key if tls else None),
        certificate_chain=_text(tls.certificate if tls else None),
        channel_args=SEVERAL_OPTIONS if connection.is_several else CHANNEL_OPTIONS,
    )


def _text(path: object) -> str | None:
    return None if path is None else str(path)
