"""Where a frame cannot be checked or written, or somebody interrupts, there is no output."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import Recording, pattern, record
from oracle import Oracle, left_alone, nothing, run, settles

from faceblur.batch.video import Progress
from faceblur.batch.video_threads import BoundedQueue, StageThread
from faceblur.detections import Detections
from faceblur.errors import DeadlineError, FaceblurError, InputError, OutputError, ServerError
from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource


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
    assert settles(lambda: threading.active_count() <= threads)


def test_an_answer_that_never_comes_ends_the_job_in_time(clip: Path, tmp_path: Path) -> None:
    ended = threading.Event()

    class Prompt(Oracle):
        """All other answers are there before anybody waits for them."""

        def submit_one(
            self, canvas: npt.NDArray[np.uint8], *, min_score: float
        ) -> Future[Detections]:
            answer = super().submit_one(canvas, min_score=min_score)
            if len(self.seen) != 1 + 5:
                answer.result(60)
            return answer

    def answer(index: int) -> Detections:
        assert index != 5 or ended.wait(60)
        return Detections.empty()

    oracle = Prompt(answer)
    try:
        # Each of the two frames in a request may take 0.3 s.
        with pytest.raises(DeadlineError, match=r"within 0\.6 s for the frame at 0\.200 s"):
            run(clip, tmp_path / "out.mkv", oracle=oracle, deadline_s=0.3)
    finally:
        ended.set()
        oracle.close()
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
    assert settles(
        lambda: (
            not any(t.name in ("faceblur-read", "faceblur-write") for t in threading.enumerate())
        )
    )
    assert [path.name for path in tmp_path.iterdir()] == [clip.name]


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
    assert settles(lambda: len(put) == 2)
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
