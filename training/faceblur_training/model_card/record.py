"""What is known of a bundled model: one JSON file, of which no measured figure is typed.

It has two kinds of sections. `about`, and where each part of `data` comes from,
are written by whoever trained the model. `measured`, and the counts in `data`, are written by
`measure`, from the committed model file and the data it names.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from faceblur.detection.detector import Detector
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.models import open_onnx
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur_export.data.formats import read_folder
from faceblur_export.evaluation import known_failures
from faceblur_export.evaluation.acceptance import judge
from faceblur_export.evaluation.evaluation import compare, evaluate
from faceblur_export.evaluation.inference import detect_image, open_detector
from faceblur_export.evaluation.matching import match_images, read_labelled
from faceblur_export.evaluation.threshold import MISS_COST, choose_threshold
from faceblur_export.progress import ShowItems
from faceblur_training.data.holdout import held_out


def record_of(name: str) -> Path:
    """The committed record of a model that comes with faceblur."""
    return Path(__file__).with_name(f"{name}_model.json")


CEILING_STEP = 12
"""Every how many frames of the ceiling view are searched: about two a second."""


def read_record(path: Path) -> dict[str, Any]:
    """Read the record.

    Raises:
        InputError: It is missing, or is not one.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        lacking = {"about", "data", "bar", "measured"} - record.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a record of a model: {error}") from error
    if lacking:
        raise InputError(f"{path} lacks {', '.join(sorted(lacking))}; see measure-bundled --help")
    return dict(record)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What the figures of a record are taken from.

    Attributes:
        name: What the model is called.
        model: Its ONNX file.
        data: Folder that holds the folders which the record names, such as `eval/masks`.
        other: The model to measure beside: a name or a file.
        other_name: What the record calls it.
        held_out_of: Labelled training images; those held out decide the threshold.
        ceiling: Video of a camera that looks straight down, or None.
        damage: What `faceblur-train damage` wrote of this model and others, or None.
        progress: Wraps what is worked through, to show how far it is.
    """

    name: str
    model: Path
    data: Path
    other: str
    other_name: str
    held_out_of: Path
    ceiling: Path | None = None
    damage: Path | None = None
    progress: ShowItems = iter

    def fill(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Measure the model and give a new record.

        Raises:
            FaceblurError: The model or the data cannot be used.
        """
        data = [{**row, **self._counts(row["folder"])} for row in record["data"]]
        with (
            open_detector(str(self.model)) as detector,
            open_detector(self.other) as other,
        ):
            measured = {
                "name": self.name,
                "sha256": detector.model.sha256,
                "bytes": self.model.stat().st_size,
                **_own_words(self.model),
                "other": {"name": self.other_name, "sha256": other.model.sha256},
                "size": DEFAULT_SIZE,
                "threshold": DEFAULT_THRESHOLD,
                "threshold_choice": self._threshold(detector),
                "figures": [self._side_by_side(detector, other, bar) for bar in record["bar"]],
                "failures": known_failures.measure(
                    lambda canvas, score: _seen(detector, canvas, score)
                ),
                "damage": None if self.damage is None else _read_damage(self.damage),
                "ceiling": self._ceiling({self.name: detector, self.other_name: other}),
            }
        return {**record, "data": data, "measured": measured}

    def _counts(self, folder: str) -> dict[str, int]:
        images = read_folder(self.data / folder)
        return {
            "pictures": len(images),
            "labelled": sum(image.labelled for image in images),
            "faces": sum(len(image.boxes) for image in images),
        }

    def _threshold(self, detector: Detector) -> dict[str, Any]:
        images = held_out(read_labelled(self.held_out_of))
        findings = match_images(detector, images, progress=self.progress)
        return {"miss_cost": MISS_COST, **dataclasses.asdict(choose_threshold(findings))}

    def _side_by_side(
        self, detector: Detector, other: Detector, bar: Mapping[str, Any]
    ) -> dict[str, Any]:
        images = read_labelled(self.data / bar["data"])
        both = [match_images(one, images, progress=self.progress) for one in (detector, other)]
        difference = compare(*both, threshold=DEFAULT_THRESHOLD)
        verdicts = judge(bar["data"], difference, ap50_ratio=bar["ap50_ratio"])
        return {
            "data": bar["data"],
            "ours": evaluate(both[0], threshold=DEFAULT_THRESHOLD),
            "other": evaluate(both[1], threshold=DEFAULT_THRESHOLD),
            "difference": difference,
            "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts],
        }

    def _ceiling(self, detectors: Mapping[str, Detector]) -> dict[str, Any] | None:
        if self.ceiling is None:
            return None
        counts: dict[str, dict[str, int]] = {
            name: {"frames_with_detections": 0, "detections": 0} for name in detectors
        }
        frames = 0
        for image in _frames(self.ceiling):
            frames += 1
            for name, detector in detectors.items():
                found, _ = detect_image(detector, image, min_score=DEFAULT_THRESHOLD)
                counts[name]["frames_with_detections"] += len(found) > 0
                counts[name]["detections"] += len(found)
        return {"frames": frames, "found": counts}


def _seen(detector: Detector, canvas: npt.NDArray[np.uint8], min_score: float) -> Detections:
    """What is found in a canvas that is given its range as any image is."""
    letterbox = Letterbox.plan(canvas.shape[1], canvas.shape[0])
    return detector.submit([letterbox.apply(canvas)], min_score=min_score)[0].result()


def _read_damage(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not what faceblur-train damage writes: {error}") from error


def _own_words(model: Path) -> dict[str, str]:
    metadata = open_onnx(model, threads=1).get_modelmeta().custom_metadata_map
    return {key: metadata.get(key, "") for key in ("variant", "precision", "licence")}


def _frames(video: Path) -> Iterator[npt.NDArray[np.uint8]]:
    try:
        with av.open(str(video)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % CEILING_STEP == 0:
                    yield frame.to_ndarray(format="rgb24")
    except (OSError, av.FFmpegError) as error:
        raise InputError(f"{video} cannot be played: {error}") from error
