"""Nothing of a reply is trusted: what no server of ours would say is an error."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2

from faceblur.detection.triton.reply import read_reply
from faceblur.errors import ReplyError

GOOD = np.array([[[1, 2, 30, 40, 0.9, *range(10)]]], np.float32)


def _reply(
    faces: npt.NDArray[np.float32] | None = GOOD, *counts: int, request_id: str = "7"
) -> grpcclient.InferResult:
    message = service_pb2.ModelInferResponse(id=request_id)
    if faces is not None:
        message.outputs.add(name="faces", datatype="FP32", shape=faces.shape)
        message.raw_output_contents.append(faces.tobytes())
    numbers = np.array(counts or (1,), np.int32)[:, None]
    message.outputs.add(name="face_count", datatype="INT32", shape=numbers.shape)
    message.raw_output_contents.append(numbers.tobytes())
    return grpcclient.InferResult(message)


def _with(column: int, value: float) -> npt.NDArray[np.float32]:
    faces = GOOD.copy()
    faces[0, 0, column] = value
    return faces


def test_a_good_reply_is_read() -> None:
    (faces,) = read_reply(_reply(), request_id="7")
    assert faces.boxes.tolist() == [[1, 2, 30, 40]]
    assert faces.landmarks.shape == (1, 5, 2)


def test_rows_past_the_count_are_padding() -> None:
    (faces,) = read_reply(_reply(GOOD, 0), request_id="7")
    assert len(faces) == 0


def test_each_image_has_faces_of_its_own() -> None:
    reply = _reply(np.concatenate([GOOD, GOOD + 0.05]), 1, 0)
    found = read_reply(reply, request_id="7", images=2)
    assert [len(faces) for faces in found] == [1, 0]


@pytest.mark.parametrize("counts", [(1,), (1, 1, 1), (1, 2)])
def test_an_answer_for_another_number_of_images_is_refused(counts: tuple[int, ...]) -> None:
    reply = _reply(np.concatenate([GOOD, GOOD]), *counts)
    with pytest.raises(ReplyError):
        read_reply(reply, request_id="7", images=2)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(_reply(request_id="8"), id="another request"),
        pytest.param(_reply(faces=None), id="no faces"),
        pytest.param(_reply(GOOD, 2), id="more faces than rows"),
        pytest.param(_reply(GOOD, -1), id="negative count"),
        pytest.param(_reply(GOOD[:, :, :14]), id="14 columns"),
        pytest.param(_reply(np.concatenate([GOOD, GOOD])), id="two images"),
        pytest.param(_reply(_with(0, np.nan)), id="NaN box"),
        pytest.param(_reply(_with(2, np.inf)), id="endless box"),
        pytest.param(_reply(_with(2, -5)), id="box inside out"),
        pytest.param(_reply(_with(4, 1.5)), id="score above 1"),
    ],
)
def test_a_bad_reply_is_refused(reply: grpcclient.InferResult) -> None:
    with pytest.raises(ReplyError):
        read_reply(reply, request_id="7")
