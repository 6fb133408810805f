"""Whether another device finds the same faces as the CPU in FP32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.analyzer.frames import Canvas
from benchmarks.gpu.devices import Device, cpu_device
from benchmarks.gpu.networks import Network
from faceblur.boxes import box_iou
from faceblur.detection import decoding as postprocess
from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detections import Detections

SURE: Final = 0.05
"""Above the threshold: a face nearer to it may be found by one and not by the other."""

MIN_OVERLAP: Final = 0.8
"""Intersection over union of two boxes of one face."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike two devices are.

    Attributes:
        network: What ran.
        precision: On the device; the reference is always FP32.
        runtime: What ran it.
        images: On so many.
        faces: That the CPU is sure of.
        missed: Of these, not found.
        added: That the device is sure of and the CPU does not find.
        box_px: Largest difference of a box's side, pixels of the model input.
        landmark_px: Of a landmark.
        score: Of a score.
    """

    network: str
    precision: str
    runtime: str
    images: int
    faces: int
    missed: int
    added: int
    box_px: float
    landmark_px: float
    score: float

    @property
    def same(self) -> bool:
        """Whether all faces were found by both; something must have been there to be found."""
        return self.faces > 0 and not self.missed and not self.added


def find(device: Device, network: Network, canvases: Sequence[Canvas]) -> list[Detections]:
    """The faces of each image, asked one by one."""
    run = device.open(network, batch=1)
    scores = np.array([DEFAULT_THRESHOLD], np.float32)
    return [
        Detections.from_rows(postprocess.find_faces(*run(canvas[None]), scores)[0])
        for canvas in canvases
    ]


def compare(
    device: Device, single: Network, network: Network, canvases: Sequence[Canvas]
) -> Agreement:
    """Hold a device in some precision against the CPU in FP32.

    Args:
        device: What is judged.
        single: The network in FP32, for the CPU.
        network: The same for the device.
        canvases: Model inputs of any shapes.
    """
    wanted = find(cpu_device(), single, canvases)
    found = find(device, network, canvases)
    faces = missed = added = 0
    furthest = np.zeros(3)
    for one, other in zip(wanted, found, strict=True):
        overlaps = box_iou(one.boxes, other.boxes)
        sure = one.scores >= DEFAULT_THRESHOLD + SURE
        partner = overlaps.argmax(1) if len(other) else np.zeros(len(one), int)
        met = overlaps.max(1, initial=0) >= MIN_OVERLAP
        faces += int(sure.sum())
        missed += int((sure & ~met).sum())
        certain = other.scores >= DEFAULT_THRESHOLD + SURE
        added += int((certain & (overlaps.max(0, initial=0) < MIN_OVERLAP)).sum())
        for index in np.flatnonzero(sure & met):
            its = partner[index]
            apart = (
                np.abs(one.boxes[index] - other.boxes[its]).max(),
                np.abs(one.landmarks[index] - other.landmarks[its]).max(),
                abs(one.scores[index] - other.scores[its]),
            )
            furthest = np.maximum(furthest, apart)
    return Agreement(
        network=network.name,
        precision=network.precision,
        runtime=device.name,
        images=len(canvases),
        faces=faces,
        missed=missed,
        added=added,
        box_px=round(float(furthest[0]), 3),
        landmark_px=round(float(furthest[1]), 3),
        score=round(float(furthest[2]), 4),
    )
