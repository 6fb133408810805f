"""Parts of large frames, searched in turn, find what the whole is too coarse for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from media import Recording, record
from oracle import BLACK, LOSSLESS, left_alone
from probing import decoded

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import mask_video
from faceblur.detection.detector import ModelInfo
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DetectionOptions, Tiles
from faceblur.detection.parts import PartPlan
from faceblur.detections import Detections
from faceblur.errors import ServerError
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle

LARGE = (448, 256)
"""Of a video at a size of 64, as 4K is at 640."""


class PartSighted(OneByOne):
    """Sees a bright square of 4 pixels and more, and so only in a part what is small."""

    model = ModelInfo("part-sighted", "0" * 64)

    def __init__(self, *, fails_at: int = -1) -> None:
        self.asked: list[int] = []
        self._fails_at = fails_at

    def submit(
        self, inputs: Sequence[npt.NDArray[np.uint8]], *, min_score: float
    ) -> list[Future[Detections]]:
        self.asked.append(len(inputs))
        return super().submit(inputs, min_score=min_score)

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        future: Future[Detections] = Future()
        self._fails_at -= 1
        if self._fails_at == -1:
            future.set_exception(ServerError("one part failed"))
            return future
        bright = np.argwhere(canvas.min(axis=2) > 200)
        rows = []
        if len(bright) and (sides := np.ptp(bright, axis=0) + 1).min() >= 4:
            (top, left), (down, across) = bright.min(axis=0), sides
            rows = [[left, top, left + across, top + down, 0.9, *[0] * 10]]
        future.set_result(Detections.from_rows(np.array(rows, np.float32).reshape(-1, 15)))
        return future

    def close(self) -> None: ...


def bright_square(frames: int) -> Iterator[npt.NDArray[np.uint8]]:
    for number in range(frames):
        image = np.full((LARGE[1], LARGE[0], 3), 90, np.uint8)
        image[150:162, 300 + number : 312 + number] = 255
        yield image


@pytest.mark.parametrize("tiles", ["auto", "off"])
def test_parts_in_turn_find_what_the_whole_view_is_too_coarse_for(
    tmp_path: Path, tiles: Tiles
) -> None:
    clip, output = tmp_path / "clip.mkv", tmp_path / "out.mkv"
    how = Recording(encoder="ffv1", options={})
    record(clip, list(bright_square(50)), how)
    detector = PartSighted()
    mask = MaskStyle(mode="solid", shape="box")
    policy = Policy(mask=mask, detection=DetectionOptions(size=64, tiles=tiles))
    report = mask_video(
        clip,
        output,
        find_faces=DetectedFaces(detector, policy),
        policy=policy,
        options=LOSSLESS,
    )
    brightest = [int(image[140:170].max()) for image in decoded(output)]
    if tiles == "off":
        assert min(brightest) > 200
        assert sum(detector.asked) == 50
        return
    assert max(brightest) < 200
    assert all(len(frame.detections) for frame in report.frames)
    count = len(PartPlan.of(Letterbox.plan(*LARGE, size=64), tiles="auto").parts)
    # All parts once in the first frame, and then in each half second.
    assert 50 + 3 * count <= sum(detector.asked) <= 50 + 6 * count


def test_a_part_that_fails_leaves_no_output(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    record(clip, list(bright_square(30)), Recording(encoder="ffv1", options={}))
    policy = Policy(mask=BLACK, detection=DetectionOptions(size=64))
    with pytest.raises(ServerError, match="one part failed"):
        mask_video(
            clip,
            tmp_path / "out.mkv",
            find_faces=DetectedFaces(PartSighted(fails_at=20), policy),
            policy=policy,
            options=LOSSLESS,
        )
    assert left_alone(tmp_path, "clip.mkv")
