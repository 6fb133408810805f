"""A whole video: every face is covered in every frame, or there is no output."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from media import (
    Box,
    Pose,
    Recording,
    assert_same_times,
    decoded,
    luma,
    moving_face_video,
    moving_faces,
    pattern,
    record,
    set_display_matrix,
)

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import Progress, mask_video
from faceblur.batch.video_threads import BoundedQueue, StageThread
from faceblur.detection.detector import ModelInfo
from faceblur.detection.letterbox import PAD_VALUE, Letterbox
from faceblur.detection.options import DetectionOptions, Tiles
from faceblur.detection.parts import PartPlan
from faceblur.detection.video_input import ModelInputMaker, plan_model_input
from faceblur.detections import Detections, FrameDetections, FrameDetectionsLog, MediaDetections
from faceblur.errors import DeadlineError, FaceblurError, InputError, OutputError, ServerError
from faceblur.masks.policy import Policy
from faceblur.masks.style import MaskStyle
from faceblur.tracking.options import TrackingOptions
from faceblur.video.frames import SourceFrame, VideoProperties
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

BLACK = MaskStyle(mode="solid", shape="box", expand=0)
SIZE = 320
LOSSLESS = VideoOptions(encoder="ffv1")
Answer = Callable[[int], Detections]


class Oracle(OneByOne):
    """Answers with what it is told for each frame, after a while, on threads of its own."""

    model = ModelInfo("oracle", "0" * 64)

    def __init__(self, answer: Answer, *, delays_s: Callable[[int], float] = lambda i: 0) -> None:
        self.seen: list[npt.NDArray[np.uint8]] = []
        self.waiting = self.most_waiting = 0
        self._answer = answer
        self._delays_s = delays_s
        self._pool = ThreadPoolExecutor(8)
        self._lock = threading.Lock()

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        with self._lock:
            index = len(self.seen)
            self.seen.append(canvas)
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
        return self._pool.submit(self._work, index)

    def _work(self, index: int) -> Detections:
        try:
            time.sleep(self._delays_s(index))
            return self._answer(index)
        finally:
            with self._lock:
                self.waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def nothing(index: int) -> Detections:
    return Detections.empty()


def knows(boxes: list[Box], letterbox: Letterbox) -> Answer:
    """Answers with a box of the image, in pixels of the canvas."""

    def answer(index: int) -> Detections:
        scale = np.array(letterbox.resized) / letterbox.source
        corners = boxes[index].reshape(2, 2) * scale + (letterbox.left, letterbox.top)
        return Detections(
            corners.reshape(1, 4).astype(np.float32),
            np.full(1, 0.9, np.float32),
            np.zeros((1, 5, 2), np.float32),
        )

    return answer


def run(
    source: Path,
    output: Path,
    answer: Answer = nothing,
    *,
    oracle: Oracle | None = None,
    options: VideoOptions = LOSSLESS,
    in_flight: int = 4,
    detect_every: int = 1,
    deadline_s: float = 10,
    on_progress: Callable[[Progress], None] | None = None,
) -> MediaDetections:
    detection = DetectionOptions(size=SIZE, deadline_s=deadline_s)
    cover = TrackingOptions(detect_every=detect_every)
    policy = Policy(mask=BLACK, detection=detection, cover=cover)
    return mask_video(
        source,
        output,
        find_faces=DetectedFaces(oracle or Oracle(answer), policy, in_flight=in_flight),
        policy=policy,
        on_progress=on_progress,
        options=options,
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    record(path, pattern(30), Recording(encoder="ffv1", options={}))
    return path


@pytest.fixture
def face(tmp_path: Path) -> tuple[Path, list[Box]]:
    path = tmp_path / "face.mkv"
    how = Recording(encoder="ffv1", options={})
    return path, moving_face_video(path, frames=12, width=320, height=180, recording=how)


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


def left_alone(folder: Path, *names: str) -> bool:
    """Whether the files are the only ones there, hidden ones included."""
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_the_face_is_black_and_nothing_else_has_changed(
    face: tuple[Path, list[Box]], tmp_path: Path
) -> None:
    source, boxes = face
    output = tmp_path / "out.mkv"
    report = run(source, output, knows(boxes, Letterbox.plan(320, 180, size=SIZE)))
    for before, after, box in zip(luma(source), luma(output), boxes, strict=True):
        inner = _slices(np.add(box, (1, 1, -1, -1)))
        assert (after[inner] == 16).all()
        outside = np.ones(before.shape, bool)
        outside[_slices(np.add(box, (-2, -2, 2, 2)))] = False
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
    answer = knows(boxes, Letterbox.plan(320, 180, size=SIZE))
    oracle = Oracle(answer, delays_s=lambda index: 0.03 * (3 - index % 4))
    report = run(source, tmp_path / "out.mkv", oracle=oracle)
    for frame, box in zip(report.frames, boxes, strict=True):
        assert frame.detections.boxes[0] == pytest.approx(box, abs=0.01)


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_frames_are_in_flight_than_allowed(
    clip: Path, tmp_path: Path, in_flight: int
) -> None:
    oracle = Oracle(nothing, delays_s=lambda index: 0.01)
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


@pytest.mark.parametrize(
    "error", [ServerError("the server is gone"), InputError("no"), RuntimeError("a bug")]
)
@pytest.mark.parametrize("at", [0, 17, 29])
def test_a_detector_that_fails_ends_the_job_without_an_output(
    clip: Path, tmp_path: Path, error: Exception, at: int
) -> None:
    def fail(index: int) -> Detections:
        if index == at:
            raise error
        return Detections.empty()

    threads = threading.active_count()
    oracle = Oracle(fail)
    with pytest.raises(type(error), match=str(error)):
        run(clip, tmp_path / "out.mkv", oracle=oracle)
    oracle.close()
    assert left_alone(tmp_path, "clip.mkv")
    assert _settles(lambda: threading.active_count() <= threads)


def test_an_answer_that_never_comes_ends_the_job_in_time(clip: Path, tmp_path: Path) -> None:
    oracle = Oracle(nothing, delays_s=lambda index: 1.5 if index == 5 else 0)
    started = time.monotonic()
    # Each of the two frames in a request may take 0.3 s.
    with pytest.raises(DeadlineError, match=r"within 0\.6 s for the frame at 0\.200 s"):
        run(clip, tmp_path / "out.mkv", oracle=oracle, deadline_s=0.3)
    assert time.monotonic() - started < 1.4
    assert left_alone(tmp_path, "clip.mkv")


def test_a_detector_that_is_closed_in_the_middle_ends_the_job(clip: Path, tmp_path: Path) -> None:
    def stop(index: int) -> Detections:
        if index == 5:
            oracle._pool.shutdown(wait=False, cancel_futures=True)
        return Detections.empty()

    oracle = Oracle(stop, delays_s=lambda index: 0.02)
    with pytest.raises((ServerError, RuntimeError)):
        run(clip, tmp_path / "out.mkv", oracle=oracle)
    assert left_alone(tmp_path, "clip.mkv")


def test_an_interrupt_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(clip, tmp_path / "out.mkv", on_progress=interrupt)
    assert left_alone(tmp_path, "clip.mkv")


def test_damage_in_the_source_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    options = {"preset": "ultrafast", "g": "10", "qp": "10"}
    record(source, pattern(40), Recording(options=options))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packet = [p for p in container.demux(video=0) if p.size][20]
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    source.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        run(source, tmp_path / "out.mp4", options=VideoOptions())
    assert left_alone(tmp_path, "clip.mp4")


def test_a_disk_that_fills_up_is_said_and_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = VideoSink.write

    def write(self: VideoSink, frame: SourceFrame) -> None:
        if frame.index == 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, frame)

    monkeypatch.setattr(VideoSink, "write", write)
    with pytest.raises(OutputError, match=r"out\.mkv: the disk is full"):
        run(clip, tmp_path / "out.mkv")
    assert left_alone(tmp_path, "clip.mkv")


def test_an_earlier_output_stays_when_a_new_one_fails(clip: Path, tmp_path: Path) -> None:
    def fail(index: int) -> Detections:
        raise ServerError("gone")

    output = tmp_path / "out.mkv"
    output.write_bytes(b"what was there before")
    with pytest.raises(ServerError):
        run(clip, output, fail)
    assert output.read_bytes() == b"what was there before"
    assert left_alone(tmp_path, "clip.mkv", "out.mkv")


@pytest.mark.parametrize("name", ["missing/out.mkv", "folder", "out.xyz"])
def test_an_output_that_cannot_be_written_is_said_before_any_work(
    clip: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "folder").mkdir()
    oracle = Oracle(nothing)
    with pytest.raises((OutputError, InputError)) as raised:
        run(clip, tmp_path / name, oracle=oracle)
    assert isinstance(raised.value, FaceblurError)
    assert not oracle.seen
    assert left_alone(tmp_path, "clip.mkv", "folder")


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
        assert image[_slices(np.add(box, (2, 2, -2, -2)))].max() < 30
        outside = np.ones(before.shape[:2], bool)
        outside[_slices(np.add(box, (-8, -8, 8, 8)))] = False
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


def test_memory_stays_bounded_when_the_detector_is_slow(clip: Path, tmp_path: Path) -> None:
    ahead = 0
    oracle = Oracle(nothing, delays_s=lambda index: 0.01)
    original = VideoSource.read

    def counting(self: VideoSource) -> Iterator[object]:
        nonlocal ahead
        for number, item in enumerate(original(self)):
            ahead = max(ahead, number - len(oracle.seen))
            yield item

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoSource, "read", counting)
        run(clip, tmp_path / "out.mkv", oracle=oracle)
    assert ahead <= 6


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("name", ["faceblur-read", "faceblur-write"])
def test_an_interrupt_while_threads_start_stops_them_before_the_video_is_closed(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, runs: bool
) -> None:
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        if thread.name != name or runs:
            start(thread)
        if thread.name == name:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(clip, tmp_path / "out.mkv")
    assert _settles(
        lambda: (
            not any(t.name in ("faceblur-read", "faceblur-write") for t in threading.enumerate())
        )
    )
    assert [path.name for path in tmp_path.iterdir()] == [clip.name]


def test_looks_that_are_too_far_apart_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = tmp_path / "slow.mkv"
    record(slow, pattern(6), Recording(rate=Fraction(5)))
    for detect_every in (1, 2, 8):
        run(slow, tmp_path / "out.mkv", detect_every=detect_every)
    (record_,) = caplog.records
    assert "slow.mkv: faces are detected every 1.6 s only" in record_.getMessage()


def test_a_lane_keeps_order_and_waits_when_it_is_full() -> None:
    lane: BoundedQueue[int] = BoundedQueue(2)
    put: list[int] = []

    def fill() -> None:
        for number in range(10):
            lane.put(number)
            put.append(number)
        lane.close()

    worker = StageThread(fill, lane, name="fill")
    worker.start()
    assert _settles(lambda: len(put) == 2)
    assert list(lane) == list(range(10))
    worker.join()


def test_an_error_on_one_side_of_a_lane_reaches_the_other() -> None:
    lane: BoundedQueue[int] = BoundedQueue(1)

    def fail() -> None:
        raise InputError("broken")

    worker = StageThread(fail, lane, name="fail")
    worker.start()
    worker.join()
    with pytest.raises(InputError, match="broken"):
        next(iter(lane))
    with pytest.raises(InputError, match="broken"):
        lane.put(1)


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


def test_a_real_clip_comes_through_with_every_frame(shared: Path, tmp_path: Path) -> None:
    source, output = shared / "media" / "asl_school.mkv", tmp_path / "out.mkv"
    report = run(source, output, options=VideoOptions())
    assert_same_times(source, output)
    assert len(report.frames) == len(decoded(source)) == 72


def _slices(box: npt.ArrayLike) -> tuple[slice, slice]:
    x1, y1, x2, y2 = np.asarray(box, float)
    return (
        slice(max(0, int(np.ceil(y1))), max(0, int(y2))),
        slice(max(0, int(np.ceil(x1))), max(0, int(x2))),
    )


def _settles(condition: Callable[[], bool]) -> bool:
    """Whether something becomes true within a second."""
    deadline = time.monotonic() + 1
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()
