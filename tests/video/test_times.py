"""What is written plays at the times of what was read."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from copies import SOURCES, TICKS, copy
from media import Recording, pattern, record
from probing import assert_same_times, decoded, timeline

from faceblur.errors import InputError
from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource


@pytest.mark.parametrize("name", SOURCES)
def test_times_and_durations_are_the_source_s(
    made: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    source = made(name)
    output = tmp_path / f"out{source.suffix}"
    copy(source, output)
    assert_same_times(source, output)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        *(("uneven.mp4", ".mkv"), ("uneven.mkv", ".mp4"), ("29.97.mkv", ".mov")),
        *(("even.mp4", ".mkv"), ("29.97.mp4", ".m4v"), ("hevc.mov", ".mkv"), ("late.mp4", ".mkv")),
        *(("mpeg4.avi", ".mp4"), ("even.mp4", ".avi")),
    ],
)
def test_times_survive_another_kind_of_file(
    made: Callable[[str], Path], tmp_path: Path, name: str, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    copy(made(name), output)
    before, after = timeline(made(name)), timeline(output)
    for old, new in zip(before, after, strict=True):
        tick_s = max(old.tick_s, new.tick_s)
        # Run-in of the audio that only the source can mark is cut off.
        late = [b - a for a, b in zip(old.times_s[-30:], new.times_s[-30:], strict=True) if a >= 0]
        assert all(abs(x) <= tick_s for x in late)
        assert abs(len(old.times_s) - len(new.times_s)) <= (1 if old.kind == "audio" else 0)


@pytest.mark.parametrize("name", ["uneven.mp4", "29.97.mp4"])
def test_the_check_of_times_notices_times_made_from_a_frame_rate(
    made: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    source, output = made(name), tmp_path / "wrong.mp4"
    with VideoSource(source) as video, VideoSink(output, video) as sink:
        rate = video.properties.rate
        assert rate is not None
        for item in video.read():
            if isinstance(item, SourceFrame):
                pts = round(item.index / int(rate) / item.time_base)
                wrong = SourceFrame(item.index, pts, item.duration, item.time_base, item.image)
                sink.write(wrong)
            else:
                sink.copy(item)
    with pytest.raises(AssertionError, match="video moved"):
        assert_same_times(source, output)


def test_a_clock_that_starts_anywhere_starts_at_zero_elsewhere(tmp_path: Path) -> None:
    source, stream, film = (tmp_path / name for name in ("source.ts", "out.ts", "out.mp4"))
    late = [1_000_000 + 3600 * i for i in range(40)]
    record(source, pattern(40, width=96, height=64), Recording(times=late, time_base=TICKS))
    copy(source, stream)
    assert_same_times(source, stream, kinds=["video"])
    copy(source, film)
    (track,) = timeline(film)
    assert (track.times_s[0], track.times_s[-1]) == (0, Fraction(39, 25))


def test_an_encoder_that_only_counts_frames_keeps_their_times(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    assert copy(made("uneven.mp4"), output, VideoOptions(encoder="mpeg4")) == "mpeg4"
    assert_same_times(made("uneven.mp4"), output)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_of_fewer_frames_than_the_encoder_reorders_is_written(
    tmp_path: Path, frames: int
) -> None:
    source = tmp_path / "short.mkv"
    how = Recording(encoder="ffv1", options={}, pixel_format="yuv420p10le")
    record(source, pattern(frames, width=96, height=64), how)
    # x265 leaves times to chance here.
    for number in range(5):
        output = tmp_path / f"{number}.mov"
        copy(source, output)
        assert len(decoded(output)) == frames


def test_avi_cannot_hold_frames_that_come_closer_than_its_rate(tmp_path: Path) -> None:
    source = tmp_path / "bursts.mp4"
    times = [0, 3600, 7200, 7300, 7400, 10_800, 14_400, 18_000]
    record(source, pattern(8), Recording(times=times, time_base=TICKS))
    with pytest.raises(InputError, match=r"varying times.*\.mp4 or \.mkv"):
        copy(source, tmp_path / "out.avi")
