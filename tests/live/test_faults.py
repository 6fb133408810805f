"""Whatever fails, no frame with a face reaches a viewer, and the camera recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from running import Sightless

from faceblur.detection.letterbox import Letterbox
from faceblur.detections import Detections
from faceblur.live.sources.testpattern import TestPattern
from rig.clips import PORTRAIT
from rig.faults import FAULTS, Fault
from rig.judge import LIKENESS, SCORE, Judge
from rig.trial import PATIENCE_S, SIZE, Trial, trial


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A camera on a face, published over RTSP, and its viewer."""
    with trial(tmp_path_factory.mktemp("trial")) as running:
        yield running


IN_THE_MATRIX_ALONE = (
    "reply without its face count",
    "reply is no message",
    "server answers with an error",
    "network silent",
    "server process stopped",
)
"""Much like others; the fault matrix tries them too, and there is only so much time here."""


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if fault.name not in IN_THE_MATRIX_ALONE],
    ids=lambda fault: fault.name,
)
def test_no_face_is_shown_and_it_recovers(door: Trial, fault: Fault) -> None:
    result = door.run(fault, hold_s=0.3)
    assert result.faces == 0
    assert 0 < result.withheld < result.pictures


def test_the_viewer_never_saw_a_face(door: Trial) -> None:
    assert door.viewer.wait_for(101, timeout_s=PATIENCE_S)
    judge = Judge(SIZE[1], detect=False)
    verdicts = [judge(seen.image) for seen in door.viewer.seen()]
    assert sum(verdict.face for verdict in verdicts) == 0


def test_the_judge_sees_a_face_that_is_not_masked() -> None:
    judge, pattern = Judge(SIZE[1]), TestPattern(SIZE, face=PORTRAIT)
    verdicts = [judge(pattern.image(second).to_ndarray(format="bgr24")) for second in range(8)]
    assert all(verdict.face for verdict in verdicts)
    assert min(verdict.likeness for verdict in verdicts) > LIKENESS + 0.15


def test_the_judges_detector_alone_sees_it_wherever_it_is() -> None:
    judge, pattern = Judge(SIZE[1]), TestPattern(SIZE, face=PORTRAIT)
    for second in range(0, 30, 2):
        verdict = judge(pattern.image(second).to_ndarray(format="bgr24"))
        assert verdict.score >= SCORE, second


@pytest.mark.parametrize(
    ("box", "face", "counts"),
    [
        ((102, 73, 112, 88), PORTRAIT, False),
        ((56, 83, 74, 107), PORTRAIT, True),
        ((50, 75, 60, 85), PORTRAIT, True),
        ((102, 73, 112, 88), None, True),
    ],
    ids=["the rocket", "the face", "beside the face", "a portrait that is not found"],
)
def test_what_the_detector_finds_counts_where_the_face_can_be(
    box: tuple[int, int, int, int], face: Path | None, counts: bool
) -> None:
    image = TestPattern(SIZE, face=face).image(13.8).to_ndarray(format="bgr24")
    if face is not None:
        # Masked, so that the pixels do not show it.
        image[78:114, 46:82] = 128
    judge = Judge(SIZE[1])
    judge._detector = _Finds(box)
    assert judge(image).face is counts


class _Finds(Sightless):
    """Finds a face at one place of a frame, whatever is there."""

    def __init__(self, box: tuple[int, int, int, int]) -> None:
        letterbox = Letterbox.plan(*SIZE)
        # The model input is the frame, enlarged and centred.
        x1, y1, x2, y2 = letterbox.to_source(_at(0, 0, *letterbox.shape[::-1])).boxes[0]
        height, width = letterbox.shape
        scale = np.array([width / (x2 - x1), height / (y2 - y1)] * 2)
        self._box = (np.array(box) - (x1, y1, x1, y1)) * scale

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        future: Future[Detections] = Future()
        future.set_result(_at(*self._box))
        return future


def _at(*box: float) -> Detections:
    return Detections(
        boxes=np.array([box], np.float32),
        scores=np.array([0.9], np.float32),
        landmarks=np.zeros((1, 5, 2), np.float32),
    )
