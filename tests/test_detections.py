"""The faces of a file: kept in little memory, and written as JSON."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from faceblur.detections import Detections, FrameDetections, FrameDetectionsLog, MediaDetections


def test_a_report_is_the_json_of_its_file() -> None:
    rows = np.arange(30, dtype=np.float32).reshape(2, 15) / 7
    log = FrameDetectionsLog()
    log.append(Fraction(0), Detections.empty())
    log.append(Fraction(1001, 30000), Detections.from_rows(rows))
    assert [len(frame.detections) for frame in log] == [0, 2]
    assert log[-1].pts_s == Fraction(1001, 30000)
    assert (log[1].detections.rows() == rows).all()
    assert [frame.index for frame in log[0:2]] == [0, 1]
    media = MediaDetections(Path("a/b.mp4"), 640, 360, log).to_json()
    assert media["frames"][0] == {"index": 0, "pts_s": 0.0, "faces": []}
    assert (media["path"], media["width"], media["height"]) == (str(Path("a/b.mp4")), 640, 360)
    second = media["frames"][1]
    assert (second["index"], second["pts_s"]) == (1, 0.033367)
    assert second["faces"][0] == {
        "box": [0.0, 0.14, 0.29, 0.43],
        "score": 0.5714,
        "landmarks": [[0.71, 0.86], [1.0, 1.14], [1.29, 1.43], [1.57, 1.71], [1.86, 2.0]],
    }
    still = FrameDetections(0, 0, Detections.empty())
    assert still.to_json() == {"index": 0, "pts_s": 0.0, "faces": []}
