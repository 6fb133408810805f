"""How much of people is masked before a fixed view, and of what is nobody."""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import av
import click
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from benchmarks.moving.clips import EMPTY_S, RATE, SCENES, frames
from benchmarks.moving.labels import CLIPS, LabelledClip
from benchmarks.moving.score import Bitmap, Mask, Score
from faceblur.image.pixels import Plane
from faceblur.live.options import DEFAULT_LOOKAHEAD
from faceblur.moving.learning import Samples, background_of
from faceblur.moving.mover import Found, MovingMask, cover_coming
from faceblur.moving.options import MovingOptions
from faceblur.moving.sight import Sight, SightSize
from faceblur.video.surface import VideoSurface
from harness import command_line, machine_card, markdown, page_of, write_results

LIVE_HOLD_S: Final = 12.0
"""Of the made clips seen as by a camera: shorter than they are empty at first."""
TIMED_FRAMES: Final = 120
WARM_UP: Final = 20
HISTORY: Final = 500


class SeenFrame(NamedTuple):
    """A frame as a way of masking gets it, and who is there; None where nobody says."""

    sight: Sight
    time_s: float
    people: Bitmap | None


class Way(Protocol):
    """A way of masking."""

    def __call__(self, frame: SeenFrame) -> Found:
        """What is masked of the next frame, at any size."""

    def unknown(self) -> npt.NDArray[np.uint8] | None:
        """Where the background is not learnt yet, 0 or 255."""


class Ours:
    """What the program does."""

    def __init__(self, size: tuple[int, int], options: MovingOptions) -> None:
        self.moving = MovingMask(*size, options)

    def learn(self, seen: Iterable[SeenFrame]) -> None:
        """As of a file: from the whole of it."""
        samples = Samples()
        for frame in seen:
            if samples.wants_next():
                samples.add(frame.sight)
        learnt = background_of(samples.sights, self.moving.size)
        if learnt is not None:
            self.moving.set(*learnt)

    def __call__(self, frame: SeenFrame) -> Found:
        """What is masked."""
        return self.moving.find(frame.sight, time_s=frame.time_s)

    def unknown(self) -> npt.NDArray[np.uint8]:
        """Where the background is not learnt yet."""
        return self.moving.unknown


class Subtractor:
    """OpenCV's, and the margin around what it finds that is ours too."""

    def __init__(self, size: SightSize, name: str, options: MovingOptions) -> None:
        makers = {
            "MOG2": lambda: cv2.createBackgroundSubtractorMOG2(HISTORY, 16, False),
            "KNN": lambda: cv2.createBackgroundSubtractorKNN(HISTORY, 400, False),
        }
        self._size = size
        self._subtractor = makers[name]()
        reach = 2 * round(options.margin * max(size.width, size.height)) + 1
        self._margin = np.ones((reach, reach), np.uint8)

    def __call__(self, frame: SeenFrame) -> Found:
        """What is masked."""
        planes = frame.sight.reshape(3, self._size.height, self._size.width)
        found = cv2.medianBlur(self._subtractor.apply(cv2.merge(list(planes))), 5)
        masked = np.asarray(cv2.dilate(found, self._margin), np.uint8)
        return Found(masked, None, frame.time_s, whole=False)

    def unknown(self) -> None:
        """It says nothing of that."""


def masks_of(
    way: Way, seen: Iterable[SeenFrame], width: int, height: int, *, ahead: int
) -> Iterator[tuple[SeenFrame, Mask]]:
    """The masks of a clip, so many frames behind."""
    waiting: deque[tuple[SeenFrame, Found, Bitmap]] = deque()
    for frame in seen:
        found = way(frame)
        unknown = way.unknown()
        unlearnt = np.full((height, width), found.whole)
        if unknown is not None:
            unlearnt |= _enlarged(unknown, width, height)
        cover_coming((earlier for _, earlier, _ in waiting), found)
        waiting.append((frame, found, unlearnt))
        if len(waiting) > ahead:
            yield _due(*waiting.popleft())
    yield from (_due(*each) for each in waiting)


def _due(frame: SeenFrame, found: Found, unlearnt: Bitmap) -> tuple[SeenFrame, Mask]:
    height, width = unlearnt.shape
    masked = _enlarged(found.masked, width, height)
    return frame, Mask(masked, masked & unlearnt)


@click.command()
@click.option(
    "--media",
    type=click.Path(path_type=Path, exists=True),
    help="Folder with ceiling_view.mp4 and hall_entrance.mp4.",
)
@click.option("--speed/--no-speed", default=True, help="Measure the time of a frame.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def moving(*, media: Path | None, speed: bool, output: Path) -> None:
    """Share of people and of nobody that is masked before a fixed view, and the time it takes."""
    report = {"command": command_line(sys.argv), **machine_card(), "options": asdict(_options())}
    report["made"] = [row for scene in SCENES for row in _made(scene.name)]
    report["clips"] = [
        _real(media / f"{name}.mp4", clip)
        for name, clip in CLIPS.items()
        if media is not None and (media / f"{name}.mp4").is_file()
    ]
    report["ms_per_720p_frame"] = _times() if speed else {}
    write_results(output, "moving", report, _page(report))
    click.echo((output / "moving.md").read_text())


def _options(hold_s: float | None = None) -> MovingOptions:
    given = {} if hold_s is None else {"hold_s": hold_s}
    return MovingOptions(mode="mask", **given)


def _made(name: str) -> Iterator[dict[str, object]]:
    scene = next(scene for scene in SCENES if scene.name == name)
    shots = list(frames(scene))
    height, width = shots[0].people.shape
    size = SightSize.of(width, height)
    seen = [
        SeenFrame(size.look(_planes(shot.image)), index / RATE, shot.people)
        for index, shot in enumerate(shots)
    ]
    camera = Ours((width, height), _options(LIVE_HOLD_S))
    file = Ours((width, height), _options())
    file.learn(seen)
    ways: dict[str, Way] = {
        "camera": camera,
        "file": file,
        "OpenCV MOG2": Subtractor(size, "MOG2", _options()),
    }
    first_s = EMPTY_S - 1
    for way, find in ways.items():
        score, all_of_it = Score(), Score()
        pairs = masks_of(find, seen, width, height, ahead=DEFAULT_LOOKAHEAD)
        for index, (frame, mask) in enumerate(pairs):
            if frame.people is None:
                continue
            all_of_it.add(index, frame.people, mask)
            if frame.time_s >= first_s:
                score.add(index, frame.people, mask)
        whole = all_of_it.row()["still_masked"]
        yield {"scene": name, "way": way, **score.row(), "from_the_start": whole}


def _real(path: Path, clip: LabelledClip) -> dict[str, object]:
    seen = list(_seen_frames(path, clip))
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        width, height = video.width, video.height
    way = Ours((width, height), _options())
    way.learn(seen)
    score = Score()
    pairs = masks_of(way, seen, width, height, ahead=DEFAULT_LOOKAHEAD)
    for index, (frame, mask) in enumerate(pairs):
        if frame.people is not None:
            score.add(index, frame.people, mask)
    return {"clip": path.stem, "of": len(seen), **score.row()}


def _seen_frames(path: Path, clip: LabelledClip) -> Iterator[SeenFrame]:
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            size = SightSize.of(frame.width, frame.height)
            people = None
            if index in clip.people:
                drawn = np.zeros((frame.height, frame.width), np.uint8)
                corners = [place.split(",") for place in clip.people[index].split()]
                cv2.fillPoly(drawn, [np.array(corners, np.int32)], (255,))
                people = drawn > 0
            elif any(first <= index <= last for first, last in clip.empty):
                people = np.zeros((frame.height, frame.width), np.bool_)
            yield SeenFrame(size.look(VideoSurface(frame).planes), float(frame.time or 0), people)


def _planes(image: npt.NDArray[np.uint8]) -> Sequence[Plane]:
    return [Plane(plane) for plane in cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YUV))]


def _enlarged(bitmap: npt.NDArray[np.uint8], width: int, height: int) -> Bitmap:
    """As the mask is drawn."""
    stretched = cv2.resize(bitmap, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(stretched > 0)


def _times() -> dict[str, float]:
    """Median CPU time of all threads for a frame of 1280 x 720, reduction included."""
    size = SightSize.of(1280, 720)
    ours = Ours((1280, 720), _options(2.0))
    ways = {
        "faceblur": ours,
        "OpenCV MOG2": Subtractor(size, "MOG2", _options()),
        "OpenCV KNN": Subtractor(size, "KNN", _options()),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    reformatter = VideoReformatter()
    scene = SCENES[0]
    start_s = EMPTY_S - WARM_UP / RATE
    for index, shot in enumerate(frames(scene)):
        if index / RATE < start_s:
            continue
        frame = av.VideoFrame.from_ndarray(shot.image, "bgr24")
        planes = VideoSurface(reformatter.reformat(frame, 1280, 720, "yuv420p")).planes
        for name, way in ways.items():
            began = time.process_time()
            way(SeenFrame(size.look(planes), index / RATE, None))
            spent[name].append(time.process_time() - began)
        if len(spent["faceblur"]) == TIMED_FRAMES + WARM_UP:
            break
    return {name: 1e3 * statistics.median(times[WARM_UP:]) for name, times in spent.items()}


def _page(report: dict[str, object]) -> str:
    made, clips, times = report["made"], report["clips"], report["ms_per_720p_frame"]
    figures = (
        "people masked | worst frame | frames < 0.9 | still masked | of it, until learnt "
        "| empty frames"
    )
    parts = [
        "# What moves before a fixed view",
        f"`{report['command']}`",
        "Shares of pixels, exact silhouettes. *still masked*: of all that is nobody; *of it, until "
        "learnt*: where the background is not known yet or all of the view has changed, and all "
        "is masked by design. Counted from a second before the first of them comes, and "
        f"{EMPTY_S - 1} s after the camera has begun, which learns for {LIVE_HOLD_S:.0f} s; "
        "*from the first frame* counts that time too.",
        markdown(
            f"scene | way | {figures} | from the first frame",
            [
                (row["scene"], row["way"], *_cells(row), f"{row['from_the_start']:.3f}")
                for row in made  # type: ignore[attr-defined]
            ],
            left=(0, 1),
        ),
    ]
    if clips:
        parts += [
            "Real clips, people outlined by hand in some frames, others empty.",
            markdown(
                f"clip | labelled | {figures}",
                [(row["clip"], row["frames"], *_cells(row)) for row in clips],  # type: ignore[attr-defined]
            ),
        ]
    if times:
        cells = [(name, f"{value:.2f}") for name, value in times.items()]  # type: ignore[attr-defined]
        parts.append(markdown("a 720p frame, all threads | CPU ms", cells))
    return page_of(parts)


def _cells(row: dict[str, float]) -> tuple[str, ...]:
    return (
        *(f"{row[name]:.4f}" for name in ("people_masked", "worst_frame")),
        f"{row['frames_uncovered']} of {row['frames']}",
        *(f"{row[name]:.3f}" for name in ("still_masked", "unlearnt", "empty_masked")),
    )
