"""The cover over time in real files, and its options."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path as FilePath

import av
import click
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from media import Pose, Recording, moving_face_video
from probing import luma
from tracked_faces import SLOW, THRESHOLD, Box, faces

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import mask_video
from faceblur.batch.video_detection import frame_bytes
from faceblur.batch.video_detection import thumbnail as frame_thumbnail
from faceblur.cli.policy_options import choice_options, policy_options
from faceblur.detection.detector import ModelInfo
from faceblur.detection.options import DetectionOptions
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking import TrackingOptions
from faceblur.tracking.scene_cuts import thumbnail
from faceblur.video.options import VideoOptions


class Forgetful(OneByOne):
    """A detector that knows where the face is, but misses it in some frames."""

    model = ModelInfo("forgetful", "0" * 64)

    def __init__(self, boxes: Sequence[Box], *, missed: Iterable[int]) -> None:
        self.asked: list[float] = []
        self._boxes = boxes
        self._missed = set(missed)
        self._every = 1

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        index = len(self.asked) * self._every
        self.asked.append(min_score)
        answer: Future[Detections] = Future()
        seen = index not in self._missed
        answer.set_result(faces(self._boxes[index]) if seen else Detections.empty())
        return answer

    def every(self, frames: int) -> Forgetful:
        self._every = frames
        return self

    def close(self) -> None:
        pass


class TestVideoFiles:
    MISSED = (0, 1, 8, 9, 10, 11, 18, 19)

    def blurred(
        self,
        folder: FilePath,
        cover: TrackingOptions | None,
        *,
        missed: Iterable[int],
        every: int = 1,
    ) -> tuple[list[int], Forgetful]:
        """Frames of a real file in which the face's middle is not black, and the detector."""
        source, output = folder / "face.mkv", folder / "out.mkv"
        how = Recording(encoder="ffv1", options={})
        boxes = moving_face_video(source, frames=20, width=320, height=192, recording=how)
        detector = Forgetful(boxes, missed=missed).every(every)
        how = DetectionOptions(threshold=THRESHOLD, size=320)
        policy = Policy(mask=MaskStyle(mode="solid"), detection=how, cover=cover)
        mask_video(
            source,
            output,
            find_faces=DetectedFaces(detector, policy),
            policy=policy,
            options=VideoOptions(encoder="ffv1"),
        )
        leaked = []
        for index, (image, box) in enumerate(zip(luma(output), boxes, strict=True)):
            x0, y0, x1, y1 = (round(v) for v in box)
            inset_x, inset_y = (x1 - x0) // 4, (y1 - y0) // 4
            inner = image[y0 + inset_y : y1 - inset_y, x0 + inset_x : x1 - inset_x]
            if (inner > 16).any():
                leaked.append(index)
        return leaked, detector

    def test_what_the_detector_misses_is_masked_in_the_file(self, tmp_path: FilePath) -> None:
        leaked, detector = self.blurred(tmp_path, TrackingOptions(), missed=self.MISSED)
        assert leaked == []
        assert set(detector.asked) == {TrackingOptions().min_score(THRESHOLD)}

    def test_who_walks_across_a_slow_video_is_masked_in_the_file(self, tmp_path: FilePath) -> None:
        """At 5 frames a second, with a detection in every second one."""
        source, output = tmp_path / "walk.mkv", tmp_path / "out.mkv"
        how = Recording(rate=Fraction(SLOW), encoder="ffv1", options={})
        boxes = moving_face_video(
            source, frames=14, width=640, height=360, recording=how,
            motion=lambda progress: Pose(0.1 + 0.8 * progress, 0.5, 0.15),
        )  # fmt: skip
        assert (boxes[1] - boxes[0])[0] > 0.9 * (boxes[0][2] - boxes[0][0])
        policy = Policy(
            mask=MaskStyle(mode="solid"),
            detection=DetectionOptions(threshold=THRESHOLD, size=640),
            cover=TrackingOptions(detect_every=2),
        )
        detector = Forgetful([(*map(float, box),) for box in boxes], missed=()).every(2)
        mask_video(
            source,
            output,
            find_faces=DetectedFaces(detector, policy),
            policy=policy,
            options=VideoOptions(encoder="ffv1"),
        )
        for image, box in zip(luma(output), boxes, strict=True):
            x0, y0, x1, y1 = (round(v) for v in box)
            inset_x, inset_y = (x1 - x0) // 4, (y1 - y0) // 4
            assert not (image[y0 + inset_y : y1 - inset_y, x0 + inset_x : x1 - inset_x] > 16).any()

    def test_without_cover_it_leaks(self, tmp_path: FilePath) -> None:
        leaked, detector = self.blurred(tmp_path, None, missed=self.MISSED)
        assert leaked == list(self.MISSED)
        assert set(detector.asked) == {THRESHOLD}

    def test_the_detector_is_asked_about_every_third_frame(self, tmp_path: FilePath) -> None:
        options = TrackingOptions(detect_every=3)
        leaked, detector = self.blurred(tmp_path, options, missed=(), every=3)
        assert leaked == []
        assert len(detector.asked) == 7

    @pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "gbrp", "gray"])
    def test_thumbnails_of_frames_are_alike_at_every_depth(
        self, pixel_format: str, portrait: npt.NDArray[np.uint8]
    ) -> None:
        frame = av.VideoFrame.from_ndarray(portrait, format="bgr24")
        small = frame_thumbnail(frame.reformat(format=pixel_format, dst_color_range="JPEG"))
        assert np.corrcoef(small.ravel(), thumbnail(portrait[:, :, 1]).ravel())[0, 1] > 0.97

    def test_deep_frames_are_counted_as_large(self) -> None:
        assert frame_bytes(64, 32, "yuv420p") == 64 * 32 * 3 // 2
        assert frame_bytes(64, 32, "yuv420p10le") == 64 * 32 * 3


class TestOptions:
    def test_the_detector_is_asked_for_more_than_is_masked(self) -> None:
        assert TrackingOptions().min_score(0.2) == pytest.approx(0.1)
        assert TrackingOptions(track_threshold=0.05).min_score(0.2) == 0.05
        assert TrackingOptions(track_threshold=0.5).min_score(0.2) == 0.2

    @pytest.mark.parametrize(
        ("given", "wanted"),
        [
            ([], TrackingOptions()),
            (["--no-cover"], None),
            (
                ["--cover-before", "0.1", "--cover-after", "2", "--cover-gap", "3"],
                TrackingOptions(lead_s=0.1, hold_s=2, gap_s=3),
            ),
            (["--detect-every", "4"], TrackingOptions(detect_every=4)),
        ],
    )
    def test_extents_are_options(self, given: list[str], wanted: TrackingOptions | None) -> None:
        assert chosen(given) == wanted

    @pytest.mark.parametrize("option", ["--cover-before", "--cover-gap", "--detect-every"])
    def test_no_cover_has_no_extents(self, option: str) -> None:
        with pytest.raises(InputError, match="leave it out"):
            chosen(["--no-cover", option, "1"])

    @pytest.mark.parametrize(
        "wrong",
        [
            {"lead_s": -1},
            {"hold_s": float("nan")},
            {"gap_s": 100},
            {"track_threshold": 0.0},
            {"detect_every": 0},
            {"max_frames": 0},
        ],
    )
    def test_nonsense_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(InputError):
            TrackingOptions(**wrong)  # type: ignore[arg-type]


def chosen(arguments: list[str]) -> TrackingOptions | None:
    """The fill_gaps that `faceblur blur` makes of its options."""

    @click.command()
    @policy_options
    @choice_options
    def command(*, policy: Policy) -> TrackingOptions | None:
        return policy.cover

    result = command.main(arguments, standalone_mode=False)
    assert result is None or isinstance(result, TrackingOptions)
    return result
