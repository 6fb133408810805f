"""Decode and suppression give what the reference implementation gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceblur.boxes import box_iou
from faceblur.detection.decoding import face_decoding

GOLDENS = ("crowd", "street", "masks")


def _logit(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return np.log(p / (1 - p))


def _raw(decoded: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], ...]:
    """Candidates and priors that decode to given rows (the inverse, in float64)."""
    n = len(decoded)
    stride = np.full((n, 1), 8.0)
    cell = np.floor(decoded[:, 0:2] / stride)
    anchor = decoded[:, 2:4] * 1.0
    raw = np.empty((n, 16))
    raw[:, 0:2] = _logit((decoded[:, 0:2] / stride - cell + 0.5) / 2)
    raw[:, 2:4] = 0.0  # (2σ(0))² = 1: the anchor's own size
    raw[:, 4], raw[:, 15] = _logit(decoded[:, 4]), _logit(decoded[:, 15])
    offset = decoded[:, 5:15].reshape(n, 5, 2) - (cell * stride)[:, None]
    raw[:, 5:15] = (offset / anchor[:, None]).reshape(n, 10)
    priors = np.concatenate([cell, stride, anchor], axis=1)
    return raw.astype(np.float32), priors.astype(np.float32)


@pytest.mark.parametrize("name", GOLDENS)
@pytest.mark.parametrize("threshold", [0.02, 0.3])
def test_it_suppresses_like_the_reference(shared: Path, name: str, threshold: float) -> None:
    golden = np.load(shared / "golden" / f"{name}.npz")
    candidates, priors = _raw(golden["decoded"].astype(np.float64))
    (faces,) = face_decoding.find_faces(candidates[None], priors[None], np.array([threshold]))
    expected = golden[f"nms_conf{threshold:g}"]
    assert len(faces) == len(expected)
    np.testing.assert_allclose(faces[:, :4], expected[:, :4], atol=0.01)
    np.testing.assert_allclose(faces[:, 4], expected[:, 4], atol=1e-4)
    np.testing.assert_allclose(faces[:, 5:], expected[:, 5:15], atol=0.01)


@given(
    st.lists(
        st.tuples(*[st.floats(0, 100, width=32)] * 2, *[st.floats(1, 40, width=32)] * 2),
        max_size=40,
    )
)
@settings(max_examples=60)
def test_what_stays_does_not_overlap_and_what_goes_did(boxes: list[tuple[float, ...]]) -> None:
    rows = np.zeros((len(boxes), 15), np.float32)
    for i, (x, y, w, h) in enumerate(boxes):
        rows[i, :5] = x, y, x + w, y + h, 1 - i / 100
    kept = face_decoding.suppress(rows)
    iou = box_iou(kept[:, :4], kept[:, :4]) - np.eye(len(kept))
    assert (iou <= 0.5 + 1e-5).all()
    for row in rows:
        better = kept[kept[:, 4] >= row[4]]
        assert (box_iou(row[None, :4], better[:, :4]) > 0.5 - 1e-5).any()


def test_each_image_of_a_batch_has_its_own_threshold() -> None:
    candidates = np.zeros((2, 3, 16), np.float32)
    priors = np.ones((2, 3, 5), np.float32)
    candidates[:, 1:, 4] = -1e4
    faces = face_decoding.find_faces(candidates, priors, np.array([0.2, 0.3]))
    assert [len(rows) for rows in faces] == [1, 0]
    stacked, counts = face_decoding.pad(faces)
    assert stacked.shape == (2, 1, 15)
    assert counts.tolist() == [[1], [0]]


@pytest.mark.parametrize("column", [0, 4, 7, 15])
def test_values_that_are_not_finite_fail_instead_of_hiding_a_face(column: int) -> None:
    candidates = np.full((1, 1, 16), 5, np.float32)
    candidates[0, 0, column] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        face_decoding.find_faces(candidates, np.ones((1, 1, 5), np.float32), np.array([0.2]))


def test_arrays_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        face_decoding.find_faces(
            np.zeros((1, 3, 16), np.float32), np.zeros((1, 2, 5), np.float32), np.array([0.2])
        )
