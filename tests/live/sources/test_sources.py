"""Where a camera's frames come from, and when they are shown."""

from __future__ import annotations

import functools
import http.server
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
import waiting
from hypothesis import given
from hypothesis import strategies as st
from media import Recording, moving_face_video, record
from mp4_boxes import set_display_matrix
from running import PATIENCE_S, PATTERN, SIZE, Run, Sightless, finish, shown, until

from faceblur.detections import Detections
from faceblur.live import Camera
from faceblur.live.sources.clock import MAX_DRIFT_S, StreamClock
from faceblur.live.sources.testpattern import TestPattern
from faceblur.live.sources.worker import Throttle
from faceblur.tracking.live import LIVE_OPTIONS
from rig.clips import FPS, PORTRAIT
from rig.judge import Judge
from rig.ports import free_port


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty frames of a face."""
    path = tmp_path_factory.mktemp("video") / "face.mp4"
    moving_face_video(path, frames=20, width=320, height=240)
    return path


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a web server for `tmp_path`."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def test_a_file_plays_in_real_time_and_ends(video: Path, run: Run) -> None:
    camera = run(str(video))
    assert camera.wait(PATIENCE_S)
    stats = camera.stats()
    assert stats.state == "stopped"
    assert stats.frames_in == 20
    assert stats.frames_checked + stats.frames_dropped + stats.frames_held == 20


def test_only_what_was_looked_ahead_of_is_shown_when_a_camera_is_stopped(
    video: Path, run: Run
) -> None:
    ended = run(str(video), lookahead=6, name="ended")
    # Whatever the pace, it waits for all of them.
    patient = replace(LIVE_OPTIONS, gap_s=60.0)
    stopped = run(lookahead=6, name="stopped", cover=patient)
    until(stopped, shown(3))
    stopped.stop()
    stats = stopped.stats()
    assert stats.frames_held >= 6, "what came after them was not checked"

    assert ended.wait(PATIENCE_S)
    stats = ended.stats()
    assert (stats.frames_held, stats.frames_checked + stats.frames_dropped) == (0, 20)


def _turned(path: Path) -> None:
    """The face lies on its side, and the file says how it is to be turned."""
    images = [np.ascontiguousarray(np.rot90(image)) for image in _pattern()]
    record(path, images, Recording(rate=Fraction(FPS)))
    set_display_matrix(path, (0, 1, -1, 0))


def _deep(path: Path) -> None:
    record(path, _pattern(), Recording(rate=Fraction(FPS), pixel_format="yuv420p10le"))


def _pattern() -> list[npt.NDArray[np.uint8]]:
    pattern = TestPattern(SIZE, face=PORTRAIT)
    return [pattern.image(i / FPS).to_ndarray(format="bgr24") for i in range(20)]


def test_faces_are_masked_however_images_are_stored(tmp_path: Path, run: Run) -> None:
    cameras = []
    for make in (_turned, _deep):
        make(clip := tmp_path / f"{make.__name__}.mp4")
        folder = tmp_path / f"masked{make.__name__}"
        # In a loop: who comes late to one end has missed the beginning.
        source, sink = f"file:{clip}?loop=yes", f"segments:{folder}?segment=600"
        cameras.append((run(source, sink, name=make.__name__), folder))
    judge = Judge(SIZE[1])
    for camera, folder in cameras:
        until(camera, shown(11))
        stats = finish(camera)
        assert (stats.width, stats.height) == SIZE
        assert stats.frames_masked == stats.frames_checked > 10
        (file,) = folder.glob("*.mp4")
        with av.open(str(file)) as container:
            images = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        assert len(images) > 10
        assert not any(judge(image).face for image in images)


def test_a_image_of_an_odd_size_keeps_its_colours(tmp_path: Path, run: Run) -> None:
    size = (322, 242)
    camera = run(f"testpattern:?size={size[0]}x{size[1]}&fps={FPS}", f"segments:{tmp_path}")
    until(camera, shown(3))
    finish(camera)
    (file,) = tmp_path.glob("*.mp4")
    with av.open(str(file)) as container:
        seen = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert seen.shape == (240, 322, 3), "a multiple of 4 high"
    shown_first = [TestPattern(size).image(i / FPS).to_ndarray(format="rgb24") for i in range(9)]
    differences = [np.abs(seen.astype(int) - each[:240]).mean() for each in shown_first]
    assert min(differences) < 6


@pytest.mark.parametrize("make", [_turned, _deep])
def test_the_judge_sees_the_face_in_them(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "face.mp4")
    judge = Judge(SIZE[1])
    with av.open(str(tmp_path / "face.mp4")) as container:
        frame = next(container.decode(video=0))
        image = frame.to_ndarray(format="bgr24")
    turned = np.ascontiguousarray(np.rot90(image, frame.rotation // 90))
    assert judge(turned).face


def test_a_file_in_a_loop_never_ends(video: Path, run: Run) -> None:
    camera = run(f"file:{video}?loop=yes")
    stats = until(camera, shown(25))
    assert stats.reconnects == 0


def test_a_device_that_is_not_there_is_done_without_and_said_once(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    moving_face_video(clip := tmp_path / "short.mp4", frames=4, width=320, height=240)
    devices = ("vaapi", "v4l2m2m")
    cameras = [run(f"file:{clip}?loop=yes", name=d, hardware_decoding=d) for d in devices]
    for camera, device in zip(cameras, devices, strict=True):
        until(camera, shown(12))
        assert caplog.text.count(f"cannot decode with {device} here; decoding on the CPU") == 1


def test_mjpeg_over_http_is_a_source_too(run: Run) -> None:
    port = free_port()
    until(run(PATTERN, f"mjpeg:{port}", name="first"), shown(3))
    stats = until(run(f"http://127.0.0.1:{port}/", name="second"), shown(8))
    assert (stats.width, stats.height) == (320, 240)


def test_hls_can_be_played_while_it_is_written_and_is_a_source_too(
    run: Run, tmp_path: Path, web: str
) -> None:
    playlist = tmp_path / "index.m3u8"
    first = run(PATTERN, f"hls:{tmp_path}?segment=1", name="first")
    until(first, lambda stats: playlist.exists() and stats.frames_checked > 25)
    assert "#EXT-X-ENDLIST" not in playlist.read_text()
    judge = Judge(SIZE[1], detect=False)
    with av.open(str(playlist)) as container:
        frames = itertools.islice(container.decode(video=0), 15)
        images = [frame.to_ndarray(format="bgr24") for frame in frames]
    assert len(images) == 15
    assert not any(judge(image).face for image in images)
    second = run(f"{web}/index.m3u8", name="second", detector=Late())
    until(second, shown(15))
    # Of segments that came at once, it would drop most, each time.
    waiting.until(lambda: _share_dropped(second, 15) < 0.5, "segments are played at their own pace")


class Late(Sightless):
    """Answers after half the time in which the next frame comes."""

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        future: Future[Detections] = Future()
        threading.Timer(0.5 / FPS, future.set_result, [Detections.empty()]).start()
        return future


def _share_dropped(camera: Camera, frames: int) -> float:
    """Of the next frames of a camera."""
    before = camera.stats()
    after = until(camera, lambda stats: stats.frames_in >= before.frames_in + frames)
    return (after.frames_dropped - before.frames_dropped) / (after.frames_in - before.frames_in)


@given(
    delays=st.lists(st.floats(0, 0.3), min_size=2, max_size=40),
    start=st.floats(0, 1e5),
)
def test_images_are_shown_as_evenly_as_they_were_taken(delays: list[float], start: float) -> None:
    clock = StreamClock(paced=False)
    delays = [0.0, *delays]
    times = [clock.time_s(start + i / 10, 500 + i / 10 + d) for i, d in enumerate(delays)]
    assert times == pytest.approx([500 + i / 10 for i in range(len(delays))], abs=1e-6)


@given(
    steps=st.lists(
        st.tuples(st.one_of(st.none(), st.floats(-1e4, 1e4)), st.floats(0, 5)), min_size=1
    )
)
def test_times_rise_and_stay_near_the_arrivals_whatever_a_stream_says(
    steps: list[tuple[float | None, float]],
) -> None:
    clock, arrived_s, last_s = StreamClock(paced=False), 100.0, float("-inf")
    for number, (own_s, pause_s) in enumerate(steps, start=1):
        arrived_s += pause_s
        time_s = clock.time_s(own_s, arrived_s)
        assert time_s > last_s
        assert abs(time_s - arrived_s) <= MAX_DRIFT_S + number * 1e-3 + 1e-6
        last_s = time_s


@given(st.floats(1, 60), st.floats(1, 60))
def test_a_throttle_lets_through_no_more_than_it_is_told(fps: float, limit: float) -> None:
    throttle = Throttle(limit)
    count = sum(throttle.lets(number / fps) for number in range(int(10 * fps)))
    assert count <= 10 * min(fps, limit) * 1.25 + 2
    assert count >= 10 * min(fps, limit) * 0.5 - 2
