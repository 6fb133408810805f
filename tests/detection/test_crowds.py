"""More faces than one answer holds are found in parts, or not at all."""

from __future__ import annotations

import logging
from concurrent.futures import Future

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne

from faceblur.detection.crowds import PART_SIZE, CrowdDetector
from faceblur.detection.detect import detect
from faceblur.detection.detector import ModelInfo, ModelInput
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import DetectionSession
from faceblur.detection.tiling import part_views
from faceblur.detections import Detections
from faceblur.errors import CrowdedError, DeadlineError, ServerError

COLUMNS, ROWS, CELL = 60, 40, 40
SLOW = DetectionOptions(deadline_s=60)


class Dots(OneByOne):
    """Finds white dots, at most four on a large canvas, and may fail at the nth question."""

    model = ModelInfo("dots", "")

    def __init__(self, *, fails_at: int | None = None, error: type[ServerError] = DeadlineError):
        self.asked: list[tuple[int, int]] = []
        self._fails_at, self._error = fails_at, error

    def submit_one(self, canvas: ModelInput, *, min_score: float) -> Future[Detections]:
        self.asked.append(canvas.shape[:2])
        answer: Future[Detections] = Future()
        count, _, stats, _ = cv2.connectedComponentsWithStats((canvas[:, :, 0] > 200).astype("u1"))
        if len(self.asked) == self._fails_at:
            answer.set_exception(self._error("no answer"))
        elif count - 1 > 4 and max(canvas.shape) > PART_SIZE:
            answer.set_exception(CrowdedError(f"more than 4 {CrowdedError.MARK}"))
        else:
            rows = np.zeros((count - 1, 15), np.float32)
            rows[:, :4] = stats[1:, :4]
            rows[:, 2:4] += rows[:, :2]
            rows[:, 4] = 0.9
            answer.set_result(Detections.from_rows(rows))
        return answer

    def close(self) -> None:
        pass


def dotted(places: list[tuple[int, int]]) -> ModelInput:
    canvas = np.zeros((384, 640, 3), np.uint8)
    for x, y in places:
        canvas[y : y + 12, x : x + 12] = 255
    return canvas


CROWD = [(30, 30), (330, 30), (600, 30), (30, 350), (330, 350), (600, 350), (250, 180)]


def test_a_crowd_is_found_in_parts_and_each_face_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="faceblur")
    dots, canvas = Dots(), dotted(CROWD)
    detector = CrowdDetector(dots)
    futures = [detector.submit([canvas], min_score=0.3)[0] for _ in range(2)]
    for future in futures:
        found = future.result(60)
        assert sorted(map(tuple, found.boxes[:, :2].astype(int).tolist())) == sorted(CROWD)
    assert len(dots.asked) == 2 * (1 + len(part_views(640, 384, size=PART_SIZE)))
    assert sum(max(shape) > PART_SIZE for shape in dots.asked) == 2
    (told,) = (record for record in caplog.records if "in parts" in record.message)
    assert told.levelno == logging.INFO
    detector.close()


def test_a_few_faces_cost_one_question() -> None:
    dots = Dots()
    detector = CrowdDetector(dots)
    assert len(detector.submit([dotted(CROWD[:4])], min_score=0.3)[0].result(60)) == 4
    assert len(dots.asked) == 1


@pytest.mark.parametrize("error", [DeadlineError, CrowdedError])
def test_one_part_without_an_answer_is_no_answer(error: type[ServerError]) -> None:
    parts = len(part_views(640, 384, size=PART_SIZE))
    for number in range(2, parts + 2):
        detector = CrowdDetector(Dots(fails_at=number, error=error))
        with pytest.raises(ServerError, match="no answer"):
            detector.submit([dotted(CROWD)], min_score=0.3)[0].result(60)


def test_a_crowd_fails_no_other_image_of_its_request() -> None:
    detector = CrowdDetector(Dots())
    canvases = [dotted(CROWD[:2]), dotted(CROWD), dotted([])]
    answers = detector.submit(canvases, min_score=0.3)
    assert [len(answer.result(60)) for answer in answers] == [2, 7, 0]


def test_an_error_of_another_kind_is_passed_on_and_a_close_ends_all() -> None:
    detector = CrowdDetector(Dots(fails_at=1))
    with pytest.raises(DeadlineError):
        detector.submit([dotted(CROWD)], min_score=0.3)[0].result(60)
    detector.close()
    with pytest.raises(ServerError):
        detector.submit([dotted(CROWD)], min_score=0.3)[0].result(60)


def test_2400_faces_in_one_image_are_found(
    session: DetectionSession, portrait: npt.NDArray[np.uint8]
) -> None:
    tile = cv2.resize(portrait[30:200, 140:310], (CELL, CELL), interpolation=cv2.INTER_AREA)
    found = detect(session.detector, np.tile(tile, (ROWS, COLUMNS, 1)), SLOW)
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert len({(int(x // CELL), int(y // CELL)) for x, y in middles}) == COLUMNS * ROWS
