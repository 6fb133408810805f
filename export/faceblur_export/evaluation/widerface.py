"""The validation protocol of WIDER FACE, on arrays instead of loops over thresholds.

Yang et al., "WIDER FACE: A Face Detection Benchmark", CVPR 2016, and the evaluation kit that comes
with the data set. Per difficulty, only the faces on its list count; finding any other face is
neither rewarded nor punished. Scores are first stretched to 0–1 over all images together, then
precision and recall are taken at 1,000 thresholds, and the area under them is the result.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from faceblur.boxes import box_iou
from faceblur.errors import InputError
from faceblur_export.evaluation.metrics import Float64Array, average_precision, ratio

DIFFICULTIES = ("easy", "medium", "hard")
IOU_THRESHOLD = 0.5
SCORE_THRESHOLDS = 1000

BoolArray = npt.NDArray[np.bool_]
Predictions = Mapping[str, Float64Array]
"""Image name (`event/stem`) → (N, 5) float64 rows x y width height score, in image pixels."""


@dataclass(frozen=True)
class GroundTruth:
    """The labels of the validation set.

    Attributes:
        boxes: Image name (`event/stem`) → (N, 4) float64 rows x y width height, pixels.
        counted: Difficulty → image name → (N,) which of those faces count.
    """

    boxes: Mapping[str, Float64Array]
    counted: Mapping[str, Mapping[str, BoolArray]]


def load_ground_truth(folder: Path) -> GroundTruth:
    """Read `wider_face_val.mat` and the lists of the three difficulties.

    Args:
        folder: Where `wider_face_val.mat` and `wider_{easy,medium,hard}_val.mat` lie.

    Raises:
        InputError: A file is missing or is not such a file.
    """
    boxes = {
        name: rows.reshape(-1, 4).astype(np.float64)
        for name, rows in _read_mat(folder / "wider_face_val.mat", "face_bbx_list")
    }
    counted = {}
    for difficulty in DIFFICULTIES:
        path = folder / f"wider_{difficulty}_val.mat"
        masks = {name: np.zeros(len(rows), bool) for name, rows in boxes.items()}
        for name, listed in _read_mat(path, "gt_list"):
            positions = listed.ravel().astype(np.intp) - 1
            if name not in masks or not np.isin(positions, np.arange(len(masks[name]))).all():
                raise InputError(f"{path} lists faces that wider_face_val.mat does not have")
            masks[name][positions] = True
        counted[difficulty] = masks
    return GroundTruth(boxes, counted)


def _read_mat(path: Path, field: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield image name and its array of `field`, MATLAB's nested cells unpacked."""
    if not path.is_file():
        raise InputError(
            f"{path} is missing; give the folder of the ground truth that comes with "
            "WIDER FACE's evaluation kit (wider_face_val.mat and three lists)"
        )
    try:
        table = loadmat(path, variable_names=["event_list", "file_list", field])
        events, files, values = (table[key] for key in ("event_list", "file_list", field))
        for event, (stems,), (arrays,) in zip(events[:, 0], files, values, strict=True):
            for (stem,), (array,) in zip(stems, arrays, strict=True):
                yield f"{event[0]}/{stem[0]}", np.asarray(array)
    except (
        OSError, ValueError, TypeError, KeyError, IndexError,
        NotImplementedError, MatReadError, zlib.error,
    ) as error:  # fmt: skip
        raise InputError(f"{path} is not a ground-truth file of WIDER FACE: {error}") from error


def load_predictions(path: Path) -> dict[str, Float64Array]:
    """Read predictions from an NPZ file or from a folder in the layout of a submission.

    Args:
        path: Either `.npz` with `names` (event/stem), `counts` and `boxes_xywh_score` (all
            images' rows one after the other), or a folder `event/stem.txt` where each file has
            the image's name, the number of faces and a line `x y width height score` per face.

    Raises:
        InputError: Missing, malformed, or with values that are not finite.
    """
    if path.is_dir():
        files = sorted(path.glob("*/*.txt"))
        if not files:
            raise InputError(f"{path} holds no files event/stem.txt; is it a submission folder?")
        predictions = {f"{file.parent.name}/{file.stem}": _read_submission(file) for file in files}
    elif path.is_file():
        predictions = _read_npz(path)
    else:
        raise InputError(f"{path} does not exist; give an .npz file or a submission folder")
    for name, rows in predictions.items():
        if not np.isfinite(rows).all():
            raise InputError(f"{path}: the predictions of {name} hold a value that is not finite")
    return predictions


def _read_submission(file: Path) -> Float64Array:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        rows = np.array([line.split() for line in lines[2:] if line.strip()], np.float64)
        rows = rows.reshape(-1, 5)
        if int(lines[1]) != len(rows):
            raise ValueError(f"it announces {lines[1].strip()} faces and lists {len(rows)}")
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{file} must hold the image's name, the number of faces and "
            f"'x y width height score' lines: {error}"
        ) from error
    return rows


def _read_npz(path: Path) -> dict[str, Float64Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names, counts, rows = (archive[key] for key in ("names", "counts", "boxes_xywh_score"))
        if rows.ndim != 2 or rows.shape[1] != 5 or len(names) != len(counts):
            raise ValueError(f"names {names.shape}, counts {counts.shape}, rows {rows.shape}")
        if (counts < 0).any() or counts.sum() != len(rows):
            raise ValueError(f"counts add up to {counts.sum()}, not to {len(rows)} rows")
        parts = np.split(rows.astype(np.float64), np.cumsum(counts)[:-1])
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} must hold the arrays names, counts and boxes_xywh_score: {error}"
        ) from error
    return dict(zip((str(name) for name in names), parts, strict=True))


def evaluate_widerface(predictions: Predictions, truth: GroundTruth) -> dict[str, float]:
    """Average precision per difficulty.

    Args:
        predictions: For every validation image; rows in any order (they are sorted by score).
        truth: The labels.

    Returns:
        `easy`, `medium` and `hard` → average precision in 0–1.

    Raises:
        InputError: Images have no entry: leaving them out would lower recall unnoticed.
    """
    missing = sorted(truth.boxes.keys() - predictions.keys())
    if missing:
        raise InputError(
            f"predictions lack {len(missing)} of {len(truth.boxes)} images, such as "
            f"{missing[0]}; give an empty list for an image where nothing was found"
        )
    stretch = _score_stretch(predictions)
    tables = [
        _image_events(predictions[name], boxes, stretch, truth, name)
        for name, boxes in truth.boxes.items()
    ]
    steps = np.concatenate([step for step, _, _ in tables])
    results = {}
    for column, difficulty in enumerate(DIFFICULTIES):
        proposals = np.concatenate([table[:, column] for _, table, _ in tables])
        found = np.concatenate([table[:, column] for _, _, table in tables])
        faces = sum(int(mask.sum()) for mask in truth.counted[difficulty].values())
        curve = [
            np.bincount(steps, weights=events, minlength=SCORE_THRESHOLDS)
            for events in (proposals, found)
        ]
        proposed, hits = (np.cumsum(events) for events in curve)
        results[difficulty] = float(average_precision(ratio(hits, proposed), ratio(hits, faces)))
    return results


def _score_stretch(predictions: Predictions) -> tuple[float, float]:
    """Lowest score of all images, and what separates it from the highest."""
    scores = np.concatenate([rows[:, 4] for rows in predictions.values()] or [np.zeros(0)])
    if not len(scores):
        return 0.0, 1.0
    low, high = float(scores.min()), float(scores.max())
    return low, (high - low) or 1.0


def _image_events(
    rows: Float64Array,
    faces: Float64Array,
    stretch: tuple[float, float],
    truth: GroundTruth,
    name: str,
) -> tuple[npt.NDArray[np.intp], BoolArray, BoolArray]:
    """What each prediction of one image adds to the curves.

    Returns:
        (N,) step, the first of the falling thresholds that admits the prediction; (N, 3) whether
        it is a proposal, per difficulty; (N, 3) whether it finds a face that counts.
    """
    rows = _by_falling_score(rows)
    overlap = box_iou(_corners(rows[:, :4]), _corners(faces), pixel=1.0)
    best = overlap.argmax(axis=1) if len(faces) else np.zeros(len(rows), np.intp)
    hit = overlap.max(axis=1, initial=0.0) >= IOU_THRESHOLD
    first = np.zeros(len(rows), bool)
    _, positions = np.unique(best[hit], return_index=True)
    first[np.flatnonzero(hit)[positions]] = True

    proposal = np.ones((len(rows), len(DIFFICULTIES)), bool)
    found = np.zeros_like(proposal)
    for column, difficulty in enumerate(DIFFICULTIES):
        counts = np.append(truth.counted[difficulty][name], False)[best]
        proposal[:, column] = ~hit | counts
        found[:, column] = first & counts
    rising = np.arange(SCORE_THRESHOLDS) / SCORE_THRESHOLDS
    low, span = stretch
    admitted = np.searchsorted(rising, (rows[:, 4] - low) / span, side="right")
    return SCORE_THRESHOLDS - admitted, proposal, found


def _by_falling_score(rows: Float64Array) -> Float64Array:
    return rows[np.argsort(-rows[:, 4], kind="stable")]


def _corners(boxes: Float64Array) -> Float64Array:
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
