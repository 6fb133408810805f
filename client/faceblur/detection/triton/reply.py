"""What a Triton server answers, read with no trust in it."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from faceblur.detections import ROW_WIDTH, Detections
from faceblur.errors import ReplyError, ServerError


class PendingRequest:
    """Images under way together; `futures` get the faces of each, or why there is no answer."""

    def __init__(self, request_id: str, *, images: int) -> None:
        self.id = request_id
        self.futures: list[Future[Detections]] = [Future() for _ in range(images)]

    def fail(self, error: ServerError) -> None:
        """No image has an answer."""
        for future in self.futures:
            # Whoever waited for this one may have given it up; the others are still waited for.
            with suppress(InvalidStateError):
                future.set_exception(error)

    def answer(self, result: Any) -> None:
        """Give each image its faces, or all of them the error of a reply that is none."""
        try:
            found = read_reply(result, request_id=self.id, images=len(self.futures))
        except ReplyError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001  a reply that breaks the reader is no answer
            self.fail(ReplyError(f"the server's answer cannot be read: {error}"))
        else:
            for future, faces in zip(self.futures, found, strict=True):
                with suppress(InvalidStateError):
                    future.set_result(faces)


def read_reply(result: Any, *, request_id: str, images: int = 1) -> list[Detections]:
    """Take the faces of each image that a request carried from its `InferResult`, trusting nothing.

    Raises:
        ReplyError: It answers another request, or is not as many well-formed lists of faces.
    """
    if result.get_response().id != request_id:
        raise ReplyError("the server answered another request than the one asked")
    faces, counts = result.as_numpy("faces"), result.as_numpy("face_count")
    if faces is None or counts is None:
        raise ReplyError("the server's answer lacks faces or face_count")
    if faces.dtype != np.float32 or faces.ndim != 3 or faces.shape[::2] != (images, ROW_WIDTH):
        raise ReplyError(f"the server's faces have the shape {faces.shape}")
    if counts.shape != (images, 1) or not ((counts >= 0) & (counts <= faces.shape[1])).all():
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
