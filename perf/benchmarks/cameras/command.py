"""What a live camera costs, against decoding, inference and encoding alone."""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import click
import numpy as np
import numpy.typing as npt

from benchmarks.cameras.clips import SIZE, write_clip
from benchmarks.cameras.plot import draw_stages
from benchmarks.processes import cpu_s
from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import BUNDLED_MODEL
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
from harness import command_line, machine_card, markdown
from rig.judge import Judge

MAX_RATIO: Final = 1.3
"""Target: the full pipeline, in CPU, against decoding, inference and encoding alone."""

FPS: Final = 15
EIGHT: Final = 8
EIGHT_FPS: Final = 5
DEADLINE_S: Final = 2.0
WARM_UP_S: Final = 10.0
START_S: Final = 120.0
IN_FLIGHT: Final = 2
JUDGES: Final = 2


@dataclass(frozen=True)
class Cost:
    """What one way took in one round.

    Attributes:
        way: Its name.
        frames: That were finished.
        cpu_ms: CPU time of each, all processes together.
        parts_ms: The same by the role of the process.
    """

    way: str
    frames: int
    cpu_ms: float
    parts_ms: dict[str, float]


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
        detector = stack.enter_context(ReconnectingDetector(SessionOptions(model=BUNDLED_MODEL)))
        if not detector.wait(START_S) or detector.session is None:
            raise click.ClickException(f"no detector: {detector.failure}")
        card |= {"model": detector.model.name, "detector": detector.session.kind}
        costs, delays = _rounds(material, folder, detector, rounds, seconds, number)
        eight = _eight(slow, folder / "eight", detector, eight_seconds)
        eight |= _leaks(slow, folder / "eight")
    _write(output, card, costs, delays, eight)


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


def _pictures(clip: Path, frames: int) -> Any:
    done = 0
    while True:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"
            for picture in container.decode(stream):
                if done == frames:
                    return
                done += 1
                yield picture


def _decode(clip: Path, frames: int) -> None:
    for _ in _pictures(clip, frames):
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
    return [letterbox.apply(picture.to_ndarray(format="rgb24")) for picture in _pictures(clip, 8)]


def _encode(clip: Path, folder: Path, frames: int) -> None:
    """As a sink encodes, into a file."""
    width, height = SIZE
    format_ = FrameFormat(
        width=width, height=height, matrix=1, full_range=False, aspect=Fraction(1)
    )
    with av.open(str(folder / "encoded.mp4"), "w") as container:
        encoder = Encoder(container, format_, SinkOptions(kind="segments", target=str(folder)))
        for number, picture in enumerate(_pictures(clip, frames)):
            encoder.write(picture, number / FPS)
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
    for picture in _pictures(clip, 10):
        if not judge(picture.to_ndarray(format="bgr24")).face:
            raise click.ClickException("the judge misses a face that is not masked")
    # Nothing is measured any more: every core may judge. Not forked, for this process has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(JUDGES, mp_context=context) as pool:
        judged = list(pool.map(_judged, sorted(recordings.rglob("*.mp4"))))
    return {name: sum(counts[name] for counts in judged) for name in judged[0]}


def _judged(recording: Path) -> dict[str, int]:
    """The same for one recording."""
    judge = Judge(SIZE[1])
    counts = {"leaked": 0, "pictures": 0, "placeholders": 0}
    with av.open(str(recording)) as container:
        for picture in container.decode(video=0):
            verdict = judge(picture.to_ndarray(format="bgr24"))
            counts["leaked"] += verdict.face
            counts["placeholders" if verdict.placeholder else "pictures"] += 1
    return counts


def _write(
    output: Path,
    card: dict[str, object],
    costs: list[Cost],
    delays: list[dict[str, float]],
    eight: dict[str, Any],
) -> None:
    def middle(way: str, part: str | None = None) -> float:
        own = [cost for cost in costs if cost.way == way]
        return statistics.median(
            cost.cpu_ms if part is None else cost.parts_ms.get(part, 0.0) for cost in own
        )

    ways = ("decode", "decode and encode", "inference", "full pipeline")
    by_way = {way: [cost.cpu_ms for cost in costs if cost.way == way] for way in ways}
    ratios = [
        full / (both + inference)
        for both, inference, full in zip(
            by_way["decode and encode"], by_way["inference"], by_way["full pipeline"], strict=True
        )
    ]
    ratio = statistics.median(ratios)
    delay = {name: statistics.median(each[name] for each in delays) for name in delays[0]}
    stages = {
        "decode, reduce": middle("full pipeline", "source"),
        "inference": middle("full pipeline", "server"),
        "cover, mask": middle("full pipeline", "camera"),
        "encode, write": middle("full pipeline", "sink"),
    }
    alone = {
        "decode, reduce": middle("decode"),
        "inference": middle("inference"),
        "cover, mask": 0.0,
        "encode, write": middle("decode and encode") - middle("decode"),
    }
    rows = [(way, f"{middle(way):.2f}", f"{1e3 / middle(way) / FPS:.1f}") for way in ways]
    parts = [
        "# cameras",
        f"`{command_line(sys.argv)}`",
        f"Target, {_within(ratios, MAX_RATIO)}: the full pipeline costs at most {MAX_RATIO} times "
        f"what decoding, inference and encoding alone do. Here {ratio:.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}); rounds are interleaved, figures are medians. "
        "CPU time of all processes counts, the server's too.",
        markdown("way | CPU ms/frame | cameras of 720p15 on one core", rows),
        "![What each stage costs](cameras.png)",
        f"Delay from a frame's arrival to its hand-over, masked: {delay['p50_ms']:.0f} ms (p50), "
        f"{delay['p99_ms']:.0f} ms (p99); to the end of its writing: "
        f"{delay['written_p50_ms']:.0f} and {delay['written_p99_ms']:.0f} ms. "
        f"Frames dropped or held in a round: {delay['lost']:.0f}.",
        f"Eight cameras at {EIGHT_FPS} fps, {eight['seconds']:.0f} s: target, "
        f"{_met(_keeps_pace(eight) and eight['leaked'] == 0)}: {eight['fps_each']:.2f} fps each on "
        f"{eight['cores']:.2f} cores, {eight['dropped']} frames dropped, {eight['held']} held; "
        f"{eight['p50_ms']:.0f} ms (p50), {eight['p99_ms']:.0f} ms (p99); "
        f"**{eight['leaked']} of {eight['pictures']} recorded frames show a face** (and "
        f"{eight['placeholders']} are placeholders), judged by detection and by correlation.",
        "\n".join(f"- {key}: {value}" for key, value in card.items()),
    ]
    output.mkdir(parents=True, exist_ok=True)
    (output / "cameras.md").write_text("\n\n".join(parts) + "\n")
    document = {
        "command": command_line(sys.argv), "card": card, "ratio": ratio, "ratios": ratios,
        "costs": [asdict(cost) for cost in costs], "delays": delays, "eight": eight,
        "stages_ms": stages, "alone_ms": alone,
    }  # fmt: skip
    (output / "cameras.json").write_text(json.dumps(document, indent=1) + "\n")
    draw_stages(output / "cameras.png", stages=stages, alone=alone)
    click.echo("\n\n".join(parts))


def _keeps_pace(eight: dict[str, Any]) -> bool:
    return bool(eight["fps_each"] >= 0.98 * EIGHT_FPS)


def _within(ratios: Sequence[float], limit: float) -> str:
    """Whether rounds keep below a limit; a tie where some do and others do not."""
    if max(ratios) > limit >= min(ratios):
        return f"a tie ({sum(r <= limit for r in ratios)} of {len(ratios)} rounds below)"
    return _met(max(ratios) <= limit)


def _met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"
