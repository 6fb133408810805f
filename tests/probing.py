"""What is in a file: its tracks and when they are played, by ffprobe, and its frames."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

MILLISECOND = Fraction(1, 1000)
FFMPEG_MISSING = "needs ffmpeg and ffprobe: apt-get install -y ffmpeg"


@dataclass(frozen=True)
class TrackTimes:
    """When what a track holds is played, as ffprobe reads it.

    Attributes:
        kind: video, audio, subtitle or data.
        tick_s: Seconds to one tick.
        times_s: Start of each packet that is played, in order.
        duration_s: What the container says of the track; None if it does not.
    """

    kind: str
    tick_s: Fraction
    times_s: tuple[Fraction, ...]
    duration_s: Fraction | None


def probe(path: Path) -> dict[str, Any]:
    """What ffprobe says of a file: streams, format, chapters, packets."""
    if shutil.which("ffprobe") is None:
        pytest.skip(FFMPEG_MISSING)
    return _probed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _probed(path: Path, changed_ns: int) -> dict[str, Any]:
    shown = ["-show_streams", "-show_format", "-show_chapters", "-show_packets"]
    line = ["ffprobe", "-v", "error", *shown, "-of", "json", str(path)]
    done = subprocess.run(line, capture_output=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


def timeline(path: Path) -> list[TrackTimes]:
    """When everything in a file is played."""
    found = probe(path)
    tracks = []
    for stream in found["streams"]:
        tick_s = Fraction(stream["time_base"])
        packets = [p for p in found["packets"] if p["stream_index"] == stream["index"]]
        shown = [p for p in packets if "pts" in p and "D" not in p["flags"]]
        duration = stream.get("duration_ts")
        tracks.append(
            TrackTimes(
                stream["codec_type"],
                tick_s,
                tuple(sorted(int(p["pts"]) * tick_s for p in shown)),
                None if duration is None else int(duration) * tick_s,
            )
        )
    return tracks


def assert_same_times(
    source: Path, output: Path, *, kinds: Sequence[str] = ("video", "audio")
) -> None:
    """Two files play the same number of things at the same times, to a tick of the coarser."""
    for kind in kinds:
        before = [track for track in timeline(source) if track.kind == kind]
        after = [track for track in timeline(output) if track.kind == kind]
        assert len(before) == len(after), f"{len(after)} {kind} tracks instead of {len(before)}"
        for old, new in zip(before, after, strict=True):
            tick_s = max(old.tick_s, new.tick_s)
            assert len(old.times_s) == len(new.times_s), f"not as many packets of {kind}"
            late = [float(b - a) for a, b in zip(old.times_s, new.times_s, strict=True)]
            assert all(abs(x) <= tick_s for x in late), (
                f"{kind} moved by up to {max(late, key=abs)} s"
            )
            if old.duration_s is not None and new.duration_s is not None:
                longer = new.duration_s - old.duration_s
                assert abs(longer) <= tick_s, f"{kind} is {float(longer)} s longer"
    whole = [Fraction(probe(path)["format"]["duration"]) for path in (source, output)]
    # MP4 files count their whole length on a clock of its own, in milliseconds as a rule.
    clocks = [track.tick_s for path in (source, output) for track in timeline(path)]
    assert abs(whole[0] - whole[1]) <= max(*clocks, MILLISECOND), f"durations {whole}"


def decoded(path: Path, *, pixel_format: str | None = None) -> list[npt.NDArray[Any]]:
    """Every frame of a video as an array, in its own pixel format or another."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        if pixel_format is None:
            return [frame.to_ndarray() for frame in frames]
        return [frame.to_ndarray(format=pixel_format) for frame in frames]


def luma(path: Path) -> list[npt.NDArray[Any]]:
    """The first plane of every frame of a video."""
    planes = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            dtype = np.dtype("u1" if frame.format.components[0].bits == 8 else "<u2")
            rows = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
            planes.append(rows[:, : plane.width].copy())
    return planes
