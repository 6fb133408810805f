"""What a live camera costs, against decoding, inference and encoding alone."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import click
import numpy as np
import numpy.typing as npt

from benchmarks.cameras.clips import SIZE, write_clip
from benchmarks.cameras.report import EIGHT_FPS, FPS, Cost, write_report
from benchmarks.processes import cpu_s
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.models import automatic_model
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.session import SessionOptions
from faceblur.live.camera import Camera
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.frame_format import FrameFormat
from faceblur.live.options import CameraOptions
from faceblur.live.service.fleet import Fleet
from faceblur.live.sinks.encoder import Encoder
from faceblur.live.sinks.options import SinkOptions, parse_sink
from faceblur.live.sources.options import SourceOptions
from faceblur.live.stats import CameraStats
from harness import machine_card
from rig.judge import Judge

EIGHT: Final = 8
DEADLINE_S: Final = 2.0
WARM_UP_S: Final = 10.0
START_S: Final = 120.0
IN_FLIGHT: Final = 2
JUDGES: Final = 2


@click.command()
@click.option("--clip", type=click.Path(path_type=Path, exists=True), help="What cameras show.")
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of each measurement.")
@click.option("--cameras", "number", default=2, show_default=True, help="In the full pipeline.")
@click.option("--eight-seconds", default=90.0, show_default=True, help="Of eight cameras.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def cameras(
    *,
    clip: Path | None,
    rounds: int,
    seconds: float,
    number: int,
    eight_seconds: float,
    output: Path,
) -> None:
    """720p15 through decoding, inference, encoding and all of it; then eight cameras at once."""
    card = machine_card() | {
        "clip": "coloured tiles and a portrait" if clip is None else clip.name,
        "size": DEFAULT_SIZE,
        "threshold": DEFAULT_THRESHOLD,
        "rounds": rounds,
        "seconds": seconds,
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        material = write_clip(folder / "clip.mp4", fps=FPS, frames=20 * FPS, source=clip)
        slow = write_clip(folder / "slow.mp4", fps=EIGHT_FPS, frames=20 * EIGHT_FPS)
        options = SessionOptions(model=automatic_model("camera"))
        detector = stack.enter_context(ReconnectingDetector(options))
        if not detector.wait(START_S) or detector.session is None:
            raise click.ClickException(f"no detector: {detector.failure}")
        card |= {"model": detector.model.name, "detector": detector.session.kind}
        costs, delays = _rounds(material, folder, detector, rounds, seconds, number)
        eight = _eight(slow, folder / "eight", detector, eight_seconds)
        eight |= _leaks(slow, folder / "eight")
    write_report(output, card, costs, delays, eight)


def _rounds(
    clip: Path,
    folder: Path,
    detector: ReconnectingDetector,
    rounds: int,
    seconds: float,
    number: int,
) -> tuple[list[Cost], list[dict[str, float]]]:
    """Each way in turn, several times: a machine whose speed drifts is unfair to none."""
    frames = int(seconds * FPS)
    canvases = _canvases(clip)
    costs, delays = [], []
    for index in range(rounds):
        ways: list[Callable[[], Cost]] = [
            lambda: _alone("decode", lambda: _decode(clip, frames), frames),
            lambda: _alone("inference", lambda: _infer(canvases, detector, frames), frames),
            lambda: _alone("decode and encode", lambda: _encode(clip, folder, frames), frames),
        ]
        for way in ways if index % 2 else reversed(ways):
            costs.append(way())
        cost, delay = _full(clip, folder / f"round{index}", detector, number, seconds)
        costs.append(cost)
        delays.append(delay)
        click.echo(
            f"round {index + 1}: "
            + ", ".join(f"{cost.way} {cost.cpu_ms:.2f} ms" for cost in costs[-4:])
        )
    return costs, delays


def _alone(way: str, work: Callable[[], None], frames: int) -> Cost:
    before = cpu_s()
    work()
    return _cost(way, before, cpu_s(), frames)


def _cost(way: str, before: dict[str, float], after: dict[str, float], frames: int) -> Cost:
    parts = {
        name: max(0.0, used - before.get(name, 0.0)) / max(1, frames) * 1e3
        for name, used in after.items()
    }
    return Cost(way, frames, sum(parts.values()), parts)


def _images(clip: Path, frames: int) -> Any:
    done = 0
    while True:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            for image in container.decode(stream):
                if done == frames:
                    return
                done += 1
                yield image


def _decode(clip: Path, frames: int) -> None:
    for _ in _images(clip, frames):
        pass


def _infer(
    canvases: Sequence[npt.NDArray[np.uint8]], detector: ReconnectingDetector, frames: int
) -> None:
    """As many frames are under way as a camera has."""
    waiting: list[Any] = []
    for number in range(frames):
        canvas = canvases[number % len(canvases)]
        waiting.append(detector.submit([canvas], min_score=DEFAULT_THRESHOLD)[0])
        if len(waiting) == IN_FLIGHT:
            waiting.pop(0).result()
    for future in waiting:
        future.result()


def _canvases(clip: Path) -> list[npt.NDArray[np.uint8]]:
    letterbox = Letterbox.plan(*SIZE)
    return [letterbox.apply(image.to_ndarray(format="rgb24")) for image in _images(clip, 8)]


def _encode(clip: Path, folder: Path, frames: int) -> None:
    """As a sink encodes, into a file."""
    width, height = SIZE
    format_ = FrameFormat(
        width=width, height=height, matrix=1, full_range=False, aspect=Fraction(1)
    )
    with av.open(str(folder / "encoded.mp4"), "w") as container:
        encoder = Encoder(container, format_, SinkOptions(kind="segments", target=str(folder)))
        for number, image in enumerate(_images(clip, frames)):
            encoder.write(image, number / FPS)
        encoder.flush()


def _options(name: str, clip: Path, recordings: Path) -> CameraOptions:
    return CameraOptions(
        name=name,
        source=SourceOptions(kind="file", url=str(clip), loop=True, open_timeout_s=60.0),
        sinks=(parse_sink(f"segments:{recordings / name}?segment=3600"),),
        deadline_s=DEADLINE_S,
        lookahead=0,
    )


def _full(
    clip: Path, recordings: Path, detector: ReconnectingDetector, number: int, seconds: float
) -> tuple[Cost, dict[str, float]]:
    fleet = Fleet(detector, open_camera=Camera)
    fleet.apply([_options(f"camera{index}", clip, recordings) for index in range(number)])
    try:
        before, after, used = _observe(fleet, seconds)
    finally:
        fleet.stop(timeout_s=10.0)
    frames = _checked(after) - _checked(before)
    lost = sum(
        late.frames_dropped + late.frames_held - early.frames_dropped - early.frames_held
        for early, late in zip(before, after, strict=True)
    )
    delay = {
        "p50_ms": statistics.median(stats.delay.p50_s for stats in after) * 1e3,
        "p99_ms": max(stats.delay.p99_s for stats in after) * 1e3,
        "written_p50_ms": statistics.median(s.sinks[0].delay.p50_s for s in after) * 1e3,
        "written_p99_ms": max(s.sinks[0].delay.p99_s for s in after) * 1e3,
        "lost": lost,
    }
    return _cost("full pipeline", *used, frames), delay


def _observe(
    fleet: Fleet, seconds: float
) -> tuple[list[CameraStats], list[CameraStats], tuple[dict[str, float], dict[str, float]]]:
    """Wait until all run, then watch them for a while."""
    deadline_s = time.monotonic() + START_S
    while any(stats.state != "running" for stats in fleet.stats()):
        if time.monotonic() > deadline_s:
            raise click.ClickException(f"cameras do not run: {fleet.stats()}")
        time.sleep(0.2)
    time.sleep(min(WARM_UP_S, seconds))
    before, used_before = fleet.stats(), cpu_s()
    time.sleep(seconds)
    return before, fleet.stats(), (used_before, cpu_s())


def _checked(stats: Sequence[CameraStats]) -> int:
    return sum(camera.frames_checked for camera in stats)


def _eight(
    clip: Path, recordings: Path, detector: ReconnectingDetector, seconds: float
) -> dict[str, Any]:
    """Eight cameras at 5 fps: do they keep their pace, and how late are they?"""
    fleet = Fleet(detector, open_camera=Camera)
    fleet.apply([_options(f"camera{index}", clip, recordings) for index in range(EIGHT)])
    try:
        before, after, used = _observe(fleet, seconds)
    finally:
        fleet.stop(timeout_s=30.0)
    frames = _checked(after) - _checked(before)
    pairs = list(zip(before, after, strict=True))
    return {
        "cameras": EIGHT,
        "seconds": seconds,
        "fps_each": frames / seconds / EIGHT,
        "checked": frames,
        "dropped": sum(late.frames_dropped - early.frames_dropped for early, late in pairs),
        "held": sum(late.frames_held - early.frames_held for early, late in pairs),
        "p50_ms": statistics.median(stats.delay.p50_s for stats in after) * 1e3,
        "p99_ms": max(stats.delay.p99_s for stats in after) * 1e3,
        "cores": sum(_cost("", *used, 1).parts_ms.values()) / 1e3 / seconds,
    }


def _leaks(clip: Path, recordings: Path) -> dict[str, int]:
    """How many recorded frames show a face, of how many frames and placeholders."""
    judge = Judge(SIZE[1])
    for image in _images(clip, 10):
        if not judge(image.to_ndarray(format="bgr24")).face:
            raise click.ClickException("the judge misses a face that is not masked")
    # Nothing is measured any more: every core may judge. Not forked, for this process has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(JUDGES, mp_context=context) as pool:
        judged = list(pool.map(_judged, sorted(recordings.rglob("*.mp4"))))
    return {name: sum(counts[name] for counts in judged) for name in judged[0]}


def _judged(recording: Path) -> dict[str, int]:
    """The same for one recording."""
    judge = Judge(SIZE[1])
    counts = {"leaked": 0, "images": 0, "placeholders": 0}
    with av.open(str(recording)) as container:
        for image in container.decode(video=0):
            verdict = judge(image.to_ndarray(format="bgr24"))
            counts["leaked"] += verdict.face
            counts["placeholders" if verdict.placeholder else "images"] += 1
    return counts
