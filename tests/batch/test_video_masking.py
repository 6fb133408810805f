"""A whole video: every face is covered in every frame, and nothing else has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import Box, Pose, Recording, moving_faces, pattern, record
from mp4_boxes import set_display_matrix
from oracle import SIZE, Oracle, knows, nothing, run, slices
from probing import assert_same_times, decoded, luma

from faceblur.batch.video import Progress
from faceblur.detection.letterbox import PAD_VALUE, Letterbox
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections
from faceblur.video.frames import VideoProperties
from faceblur.video.options import VideoOptions


def test_the_face_is_black_and_nothing_else_has_changed(
    face: tuple[Path, list[Box]], tmp_path: Path
) -> None:
    source, boxes = face
    output = tmp_path / "out.mkv"
    report = run(source, output, knows(boxes, Letterbox.plan(320, 180, size=SIZE)))
    for before, after, box in zip(luma(source), luma(output), boxes, strict=True):
        inner = slices(np.add(box, (1, 1, -1, -1)))
        assert (after[inner] == 16).all()
        outside = np.ones(before.shape, bool)
        outside[slices(np.add(box, (-2, -2, 2, 2)))] = False
        assert (after[outside] == before[outside]).all()
    assert (report.width, report.height, len(report.frames)) == (320, 180, 12)
    for frame, box in zip(report.frames, boxes, strict=True):
        assert frame.detections.boxes[0] == pytest.approx(box, abs=0.01)


def test_times_are_the_source_s_through_the_whole_pipeline(tmp_path: Path) -> None:
    source, output = tmp_path / "source.mp4", tmp_path / "out.mp4"
    times = [round(3003 * (i + (0.2 if i % 4 == 1 else 0))) for i in range(30)]
    how = Recording(times=times, time_base=Fraction(1, 90_000), sounds=["eng"])
    record(source, pattern(30), how)
    report = run(source, output, options=VideoOptions())
    assert_same_times(source, output)
    assert [frame.pts_s for frame in report.frames] == [Fraction(t, 90_000) for t in times]


def test_answers_that_come_out_of_order_go_to_their_own_frames(
    face: tuple[Path, list[Box]], tmp_path: Path
) -> None:
    source, boxes = face
    knowing = knows(boxes, Letterbox.plan(320, 180, size=SIZE))
    answered = [threading.Event() for _ in boxes]

    def answer(index: int) -> Detections:
        # Of the two frames of a request the second is answered first.
        assert index % 2 or answered[index + 1].wait(60)
        answered[index].set()
        return knowing(index)

    report = run(source, tmp_path / "out.mkv", answer)
    for frame, box in zip(report.frames, boxes, strict=True):
        assert frame.detections.boxes[0] == pytest.approx(box, abs=0.01)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_frames_are_in_flight_than_allowed(
    clip: Path, tmp_path: Path, in_flight: int
) -> None:
    oracle = Oracle(nothing, delays_s=lambda index: 0.01, at_once=in_flight)
    run(clip, tmp_path / "out.mkv", oracle=oracle, in_flight=in_flight)
    assert oracle.most_waiting == in_flight


@pytest.mark.parametrize(("detect_every", "expected"), [(1, [4] * 7 + [2]), (5, [2] * 3)])
def test_frames_of_a_file_are_asked_about_in_groups(
    clip: Path, tmp_path: Path, detect_every: int, expected: list[int]
) -> None:
    groups = []

    class Grouping(Oracle):
        def submit(
            self, inputs: Sequence[npt.NDArray[np.uint8]], *, min_score: float
        ) -> list[Future[Detections]]:
            groups.append(len(inputs))
            return super().submit(inputs, min_score=min_score)

    oracle = Grouping(nothing)
    report = run(clip, tmp_path / "out.mkv", oracle=oracle, in_flight=8, detect_every=detect_every)
    # A group that is not full goes out when its first frame is due.
    assert groups == expected
    assert len(report.frames) == 30


def test_progress_counts_every_frame(clip: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(clip, tmp_path / "out.mkv", on_progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, 31))
    assert {progress.total for progress in seen} == {30}


@pytest.mark.parametrize(
    ("stored", "matrix"),
    [
        (np.rot90, (0, 1, -1, 0)),
        (np.fliplr, (-1, 0, 0, 1)),
        (lambda image: image.transpose(1, 0, 2), (0, 1, 1, 0)),
    ],
    ids=["turned", "mirrored", "both"],
)
def test_a_video_stored_otherwise_is_looked_at_and_written_upright(
    tmp_path: Path,
    stored: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]],
    matrix: tuple[int, int, int, int],
) -> None:
    source, output = tmp_path / "phone.mp4", tmp_path / "out.mp4"
    # No faster than a face moves: the cover has nothing to add.
    lying, boxes = moving_faces(
        4, width=180, height=320, motion=lambda progress: Pose(0.4 + 0.1 * progress, 0.5, 0.35)
    )
    how = Recording(options={"preset": "ultrafast", "qp": "0"})
    record(source, [np.ascontiguousarray(stored(image)) for image in lying], how)
    set_display_matrix(source, matrix)
    oracle = Oracle(knows(boxes, Letterbox.plan(180, 320, size=SIZE)))
    report = run(source, output, oracle=oracle, options=VideoOptions(quality=100))
    assert (report.width, report.height) == (180, 320)
    assert oracle.seen[0].shape == (320, 192, 3)
    upright = np.stack(decoded(output, pixel_format="bgr24")).astype(int)
    for image, before, box in zip(upright, lying, boxes, strict=True):
        assert image[slices(np.add(box, (2, 2, -2, -2)))].max() < 30
        outside = np.ones(before.shape[:2], bool)
        outside[slices(np.add(box, (-8, -8, 8, 8)))] = False
        assert np.abs(image - before)[outside].mean() < 4


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuvj420p", "yuv422p10le", "gbrp"])
@pytest.mark.parametrize(("matrix", "space"), [(1, "ITU709"), (6, "ITU601")])
@pytest.mark.parametrize("width", [640, 1920])
def test_the_canvas_has_the_colours_that_a_viewer_sees(
    pixel_format: str, matrix: int, space: str, width: int
) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (9, 16, 3)).astype(np.uint8)
    image = np.kron(colours, np.ones((width // 16, width // 16, 1), np.uint8))
    height = image.shape[0]
    letterbox = Letterbox.plan(width, height, size=SIZE)
    frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(
        format=pixel_format, dst_colorspace=space
    )
    frame.colorspace = matrix
    properties = VideoProperties(
        width=width, height=height, pixel_format=pixel_format, time_base=Fraction(1, 25)
    )
    canvas = ModelInputMaker(properties, letterbox)(frame)
    assert canvas.shape == (192, 320, 3)
    middles = canvas[letterbox.top + 10 :: 20, 10::20][:9, :, ::-1]
    assert np.abs(middles.astype(int) - colours).max() <= 6
    assert (canvas[: letterbox.top] == PAD_VALUE).all()


def test_faces_have_their_natural_shape_where_pixels_are_not_square() -> None:
    properties = VideoProperties(
        width=720,
        height=576,
        pixel_format="yuv420p",
        time_base=Fraction(1, 25),
        sample_aspect_ratio=Fraction(64, 45),
    )
    letterbox = plan_model_input(properties, size=640, stride=32)
    assert letterbox.resized == (640, 360)
    whole = np.array([[*(letterbox.left, letterbox.top), 640, letterbox.top + 360]], np.float32)
    found = Detections(whole, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
    assert letterbox.to_source(found).boxes[0] == pytest.approx([0, 0, 720, 576])


def test_hdr_frames_are_shown_to_the_detector_like_ordinary_ones() -> None:
    letterbox = Letterbox.plan(64, 64, size=64)
    canvases = {}
    for transfer in (1, 16):
        properties = VideoProperties(
            width=64,
            height=64,
            pixel_format="yuv420p10le",
            time_base=Fraction(1, 25),
            color_transfer=transfer,
        )
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        # A bright diffuse white, 203 cd/m², is 58 % of PQ's range (ITU-R BT.2408).
        for plane, value in zip(frame.planes, (64 + 0.58 * 876, 512, 512), strict=True):
            np.frombuffer(memoryview(plane), "<u2")[:] = round(value)
        canvases[transfer] = ModelInputMaker(properties, letterbox)(frame)
    assert np.abs(canvases[1].astype(int) - 0.58 * 255).max() < 4
    assert canvases[16].min() > 245


def test_looks_that_are_too_far_apart_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = tmp_path / "slow.mkv"
    record(slow, pattern(6), Recording(rate=Fraction(5)))
    for detect_every in (1, 2, 8):
        run(slow, tmp_path / "out.mkv", detect_every=detect_every)
    (record_,) = caplog.records
    assert "slow.mkv: faces are detected every 1.6 s only" in record_.getMessage()


def test_a_real_clip_comes_through_with_every_frame(shared: Path, tmp_path: Path) -> None:
    source, output = shared / "media" / "asl_school.mkv", tmp_path / "out.mkv"
    report = run(source, output, options=VideoOptions())
    assert_same_times(source, output)
    assert len(report.frames) == len(decoded(source)) == 72
