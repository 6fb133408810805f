"""A large camera from end to end: the parts of its frames come to the detector in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import Recording, record
from running import Run, Sightless, until

from faceblur.detection.detector import ModelInput
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DetectionOptions
from faceblur.detection.parts import PERIOD_S, PartPlan
from faceblur.detections import Detections
from faceblur.live.camera import SPARE_SLOTS
from faceblur.live.scheduler import IN_FLIGHT
from faceblur.masks.policy import Policy

LARGE = (448, 256)
SIZE = 64
FPS = 25
PLAN = PartPlan.of(Letterbox.plan(*LARGE, size=SIZE), tiles="auto")


class Onlooker(Sightless):
    """Notes which part each model input shows: red grows to the right, blue grows downwards."""

    def __init__(self, answers_after_s: float) -> None:
        self.passes: list[list[tuple[float, int]]] = [[] for _ in PLAN.parts]
        """When each part was seen, seconds, and in which frame that was asked about."""
        self.frames = 0
        self._delay_s = answers_after_s
        views = [part.view for part in PLAN.parts]
        self._centres = np.array(
            [
                [255 * (v.x + v.width / 2) / LARGE[0], 255 * (v.y + v.height / 2) / LARGE[1]]
                for v in views
            ]
        )

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        self.frames += 1
        for each in inputs[1:]:
            seen = each.reshape(-1, 3).mean(axis=0)[[0, 2]]
            part = int(np.hypot(*(self._centres - seen).T).argmin())
            self.passes[part].append((time.monotonic(), self.frames))
        answers: list[Future[Detections]] = [Future() for _ in inputs]

        def answer() -> None:
            for each in answers:
                each.set_result(Detections.empty())

        threading.Timer(self._delay_s, answer).start()
        return answers


@pytest.fixture(scope="module")
def ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of an image that tells where each of its parts is."""
    across = np.linspace(0, 255, LARGE[0])[None, :].repeat(LARGE[1], 0)
    down = np.linspace(0, 255, LARGE[1])[:, None].repeat(LARGE[0], 1)
    image = np.stack([down, np.full_like(down, 128), across], axis=2).astype(np.uint8)
    path = tmp_path_factory.mktemp("ramp") / "ramp.mp4"
    record(path, [image] * 2 * FPS, Recording(rate=Fraction(FPS)))
    return path


@pytest.mark.parametrize(
    ("answers_after_s", "longest_s"),
    [(0.005, PERIOD_S), (0.12, 4 * PERIOD_S)],
    ids=["quick", "too slow for all frames"],
)
def test_every_part_is_looked_at_again_and_again(
    run: Run, ramp: Path, answers_after_s: float, longest_s: float
) -> None:
    detector = Onlooker(answers_after_s)
    policy = Policy(detection=DetectionOptions(size=SIZE))
    camera = run(f"file:{ramp}?loop=yes", detector=detector, policy=policy)
    dropped = 5 if answers_after_s > PERIOD_S / 5 else -1
    until(
        camera,
        lambda stats: (
            stats.frames_in >= 45
            and stats.frames_dropped > dropped
            and min(map(len, detector.passes)) > 1
        ),
    )
    camera.stop()
    assert camera.stats().frames_held == 0
    # Of the machine that the tests run on, some patience; and where it was held up, there were few
    # frames that could have shown a part, but for those that were under way and were dropped.
    under_way = IN_FLIGHT + 1 + SPARE_SLOTS
    most_frames = longest_s / max(1 / FPS, answers_after_s / IN_FLIGHT) + under_way
    waits = [wait for passes in detector.passes for wait in np.diff(passes, axis=0).tolist()]
    too_long = [
        (seconds, frames)
        for seconds, frames in waits
        if seconds > longest_s + 0.4 and frames > most_frames
    ]
    assert too_long == []
