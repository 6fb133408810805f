"""A batch shares its detector and memory fairly, survives its server, and knows what is done."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from doubles import OneByOne
from filelock import FileLock
from waiting import until

from faceblur.batch.finished import CachedResult, CacheKey, OutputLock, ResultCache, is_intact
from faceblur.batch.jobs import Job, plan
from faceblur.batch.memory import MemoryBudget, memory_bytes
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.runner import run
from faceblur.batch.shared_detector import SharedDetector, StoppedError
from faceblur.detection.detector import ModelInfo
from faceblur.detection.session import DetectionSession
from faceblur.detections import Detections
from faceblur.errors import ServerError
from faceblur.files import claim

CANVAS = np.zeros((32, 32, 3), np.uint8)


class SlowDetector(OneByOne):
    """Finds nothing, takes a moment for it, and counts how much it is asked at once.

    Attributes:
        at_once: Nothing is answered before so much was asked at once.
        prompt: How many are answered before `may_go`.
        may_go: What lets the others be answered.
    """

    model = ModelInfo("slow", "ab" * 32)

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(16)
        self._changed = threading.Condition()
        self._now = self.most = self.asked = 0
        self.failing = False
        self.at_once = 1
        self.prompt, self.may_go = 1 << 30, threading.Event()

    def submit_one(self, canvas: npt.NDArray[np.uint8], *, min_score: float) -> Future[Detections]:
        with self._changed:
            self._now, self.asked = self._now + 1, self.asked + 1
            number = self.asked
            self.most = max(self.most, self._now)
            self._changed.notify_all()
        return self._pool.submit(self._answer, number)

    def _answer(self, number: int) -> Detections:
        with self._changed:
            assert self._changed.wait_for(lambda: self.most >= self.at_once, 60)
        assert number <= self.prompt or self.may_go.wait(60)
        time.sleep(0.01)
        with self._changed:
            self._now -= 1
            if self.failing:
                raise ServerError("the server has gone")
        return Detections.empty()

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def detector() -> Iterator[SlowDetector]:
    slow = SlowDetector()
    yield slow
    slow.close()


def test_files_together_ask_no_more_at_once_than_one_may(detector: SlowDetector) -> None:
    detector.at_once = 3
    shared = SharedDetector(detector, in_flight=3, stop=threading.Event())

    def work(_: int) -> None:
        futures = [shared.submit([CANVAS], min_score=0.5)[0] for _ in range(8)]
        assert [len(future.result(60)) for future in futures] == [0] * 8

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert (detector.asked, detector.most) == (32, 3)


def test_a_group_of_frames_is_asked_as_one(detector: SlowDetector) -> None:
    detector.at_once = 4
    shared = SharedDetector(detector, in_flight=1, stop=threading.Event())
    for _ in range(3):
        group = shared.submit([CANVAS] * 4, min_score=0.5)
    assert [len(future.result(60)) for future in group] == [0] * 4
    assert (detector.asked, detector.most) == (12, 4)


def test_a_frame_that_is_given_up_makes_room(detector: SlowDetector) -> None:
    shared = SharedDetector(detector, in_flight=1, stop=threading.Event())
    for _ in range(3):
        shared.submit([CANVAS], min_score=0.5)[0].cancel()
    assert len(shared.submit([CANVAS], min_score=0.5)[0].result(60)) == 0


def test_a_stopped_batch_asks_nothing_more(
    detector: SlowDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, waits = threading.Event(), threading.Semaphore(0)
    shared = SharedDetector(detector, in_flight=1, stop=stop)

    class Watched(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waits.release()
            return super().wait(timeout)

    monkeypatch.setattr(shared, "_changed", Watched())
    with shared.paused(), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.submit, [CANVAS], min_score=0.5)
        # It has looked once at whether it may go on, and does not.
        assert all(waits.acquire(timeout=60) for _ in range(2))
        assert not waiting.done()
        stop.set()
        with pytest.raises(StoppedError):
            waiting.result(60)
    assert detector.asked == 0


def test_files_wait_for_memory() -> None:
    budget = MemoryBudget(10)
    used: list[int] = []
    most = []
    lock = threading.Lock()
    together = threading.Event()

    def work(size: int) -> None:
        with budget.room_for(size):
            with lock:
                used.append(size)
                most.append(list(used))
                if len(used) > 1:
                    together.set()
            # Two that fit are there together, whichever come first.
            assert size == 99 or together.wait(60)
            time.sleep(0.005)
            with lock:
                used.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 4, 5, 2, 99, 1, 6, 3, 4]))
    assert all(sum(sizes) <= 10 or sizes == [99] for sizes in most)
    assert max(map(len, most)) > 1


def test_large_images_are_known_before_they_are_decoded(tmp_path: Path) -> None:
    small, large, broken = (tmp_path / f"{name}.png" for name in ("small", "large", "broken"))
    cv2.imwrite(str(small), np.zeros((10, 10, 3), np.uint8))
    cv2.imwrite(str(large), np.zeros((3000, 4000), np.uint8))
    broken.write_bytes(small.read_bytes()[:20])
    jobs = [Job(path, tmp_path / "out", "image") for path in (small, large, broken)]
    sizes = [memory_bytes(job) for job in jobs]
    assert sizes[0] < 10_000 < 100_000_000 < sizes[1] < 1 << 30
    assert sizes[2] == 0


class Session:
    """Stands for a session whose server fails and comes back, or does not."""

    kind, where, in_flight = "server", "nowhere", 4
    tools: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, detector: SlowDetector, *, comes_back: bool) -> None:
        self.detector = detector
        self.model = detector.model
        self.waits = 0
        self._comes_back = comes_back

    def recovered(self, *, stop: threading.Event) -> bool:
        self.waits += 1
        self.detector.failing = not self._comes_back
        return self._comes_back


def _run(session: Session, folder: Path, **options: Any) -> list[Outcome]:
    jobs = plan([str(folder)], folder.parent / "out")
    return list(run(jobs, cast(DetectionSession, session), RunOptions(**options)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 40, 3), number, np.uint8))
    return folder


@pytest.mark.parametrize("workers", [1, 3])
def test_files_wait_for_a_server_that_comes_back(
    detector: SlowDetector, images: Path, workers: int
) -> None:
    detector.failing = True
    session = Session(detector, comes_back=True)
    outcomes = _run(session, images, workers=workers)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    assert 1 <= len(failed) <= workers
    assert all(isinstance(outcome.error, ServerError) for outcome in failed)
    assert 1 <= session.waits <= workers
    assert len(_run(session, images, workers=workers)) == 8
    assert len(list((images.parent / "out").glob("*.png"))) == 8


@pytest.mark.parametrize("workers", [1, 3])
def test_files_fail_at_once_when_the_server_is_lost(
    detector: SlowDetector, images: Path, workers: int
) -> None:
    detector.failing = True
    session = Session(detector, comes_back=False)
    outcomes = _run(session, images, workers=workers)
    assert [str(outcome.error) for outcome in outcomes] == ["the server has gone"] * 8
    assert session.waits == 1
    assert detector.asked <= workers
    assert not list((images.parent / "out").glob("*.png"))


def test_breaking_off_waits_for_the_workers(
    detector: SlowDetector, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first file is finished, and others are not before it is broken off.
    detector.prompt = 1

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            detector.may_go.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    monkeypatch.setattr("faceblur.batch.runner.ThreadPoolExecutor", Pool)
    jobs = plan([str(images)], images.parent / "out")
    session = cast(DetectionSession, Session(detector, comes_back=True))
    outcomes = run(jobs, session, RunOptions(workers=2))
    assert next(outcomes).error is None
    until(lambda: detector.asked > 1, "another file is under way")
    outcomes.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("faceblur-file")]
    assert not list((images.parent / "out").glob(".*partial*"))


INGREDIENTS = CacheKey(
    source_sha256="1" * 64, settings_sha256="2" * 64, model_sha256="3" * 64, version="1.0"
)


def _finished(tmp_path: Path, ingredients: CacheKey = INGREDIENTS) -> Path:
    output = tmp_path / "out.png"
    output.write_bytes(b"content")
    sha256 = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    ResultCache(tmp_path).add(
        CachedResult(
            name="out.png", ingredients=ingredients, output_sha256=sha256, faces=2, frames=1
        )
    )
    return output


def _find(tmp_path: Path, output: Path, ingredients: CacheKey) -> CachedResult | None:
    """The note of a result that is there, unchanged, and made of just this."""
    note = ResultCache(tmp_path).note_of(output.name)
    assert note is not None
    return note if note.is_of(ingredients) and is_intact(output, note) else None


def test_a_result_of_the_same_ingredients_is_finished(tmp_path: Path) -> None:
    output = _finished(tmp_path)
    note = _find(tmp_path, output, INGREDIENTS)
    assert note is not None
    assert (note.name, note.faces, note.frames) == ("out.png", 2, 1)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(CacheKey)])
def test_any_other_ingredient_redoes_it(tmp_path: Path, name: str) -> None:
    output = _finished(tmp_path)
    other = dataclasses.replace(INGREDIENTS, **{name: "4" * 64})
    assert _find(tmp_path, output, other) is None


def test_a_model_that_nobody_knows_is_never_the_same(tmp_path: Path) -> None:
    unknown = dataclasses.replace(INGREDIENTS, model_sha256="")
    output = _finished(tmp_path, unknown)
    assert _find(tmp_path, output, unknown) is None


def test_what_a_killed_run_left_is_swept_up_unless_somebody_works_there(tmp_path: Path) -> None:
    left = tmp_path / ".a.partial-01234567.jpg"
    other = tmp_path / ".b.partial-01234567.jpg"
    for path in (left, other):
        path.touch()
    (tmp_path / ".faceblur").mkdir()
    with FileLock(tmp_path / ".faceblur" / "lock"):
        busy = OutputLock(tmp_path, [tmp_path / "a.jpg"])
        busy.acquire()
        busy.sweep()
        assert left.exists()
    lock = OutputLock(tmp_path, [tmp_path / "a.jpg"])
    with left.open("wb") as file:
        claim(file.fileno())
        lock.acquire()
        lock.release()
        assert left.exists()
    lock.acquire()
    assert not left.exists()
    left.touch()
    lock.sweep()
    lock.release()
    assert not left.exists()
    assert other.exists()
