"""Recordings that were joined are masked in order, and their times go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from media import Recording, pattern, record
from probing import TrackTimes, luma, timeline

from faceblur import tracking
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.tracking.options import TrackingOptions
from faceblur.video.frames import SourceFrame
from faceblur.video.joints import ClockJoiner
from faceblur.video.packets import PacketQueue
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

X264 = {"preset": "medium", "bf": "2", "g": "10", "qp": "10"}
KINDS = {
    "h264.ts": Recording(options=X264, sounds=["eng"]),
    "mpeg2.ts": Recording(encoder="mpeg2video", options={"g": "10"}, sounds=["eng"]),
    "mpeg2.mpg": Recording(
        encoder="mpeg2video", options={"g": "10"}, sounds=["eng"], sound_encoder="mp2"
    ),
    "silent.ts": Recording(options=X264),
}
TICK_S = Fraction(1, 25)


def part(path: Path, frames: int, how: Recording, *, start: int = 0) -> Path:
    times = range(start, start + frames)
    values = {**vars(how), "times": times}
    record(path, pattern(frames, width=96, height=64), Recording(**values))
    return path


def copy(source: Path, output: Path) -> list[SourceFrame]:
    frames = []
    with VideoSource(source) as video, VideoSink(output, video) as sink:
        for item in video.read():
            if isinstance(item, SourceFrame):
                frames.append(item)
                sink.write(item)
            else:
                sink.copy(item)
    return frames


def steps(track: TrackTimes) -> list[Fraction]:
    return [b - a for a, b in zip(track.times_s, track.times_s[1:], strict=False)]


@pytest.mark.parametrize("name", KINDS)
def test_joined_recordings_come_in_order_and_in_step(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = part(tmp_path / f"first-{name}", 40, KINDS[name])
    second = part(tmp_path / f"second-{name}", 25, KINDS[name])
    joined, output = tmp_path / f"joined-{name}", tmp_path / "out.mkv"
    joined.write_bytes(first.read_bytes() + second.read_bytes() + first.read_bytes())
    frames = copy(joined, output)
    assert [i for i, frame in enumerate(frames) if frame.starts_scene] == [40, 65]
    assert "its clock goes back" in caplog.text
    assert "damaged" not in caplog.text
    images = [*luma(first), *luma(second), *luma(first)]
    shown = luma(output)
    assert len(shown) == 105
    for old, new in zip(images, shown, strict=True):
        assert np.abs(new.astype(int) - old).mean() < 4
    video, *sounds = timeline(output)
    assert min(steps(video)) > TICK_S - Fraction(1, 500)
    assert max(steps(video)) < 3 * TICK_S
    for sound in sounds:
        # Each recording's audio is as long as it was, and comes when its frames do.
        assert max(steps(sound)) < Fraction(1, 10)
        assert min(steps(sound)) > Fraction(1, 100)
        assert abs(sound.times_s[-1] - video.times_s[-1]) < Fraction(1, 10)


@pytest.mark.parametrize(
    ("start", "said"), [(90_000, "forward by"), (9, "back by"), (round(2**33 / 3600) - 60, None)]
)
def test_the_clock_may_go_anywhere(
    tmp_path: Path, start: int, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also over its end: 33 bits."""
    how = KINDS["silent.ts"]
    second = part(tmp_path / "second.ts", 80, how, start=start)
    joined = second
    if said is not None:
        first = part(tmp_path / "first.ts", 20, how)
        joined = tmp_path / "joined.ts"
        joined.write_bytes(first.read_bytes() + second.read_bytes())
    frames = copy(joined, tmp_path / "out.mp4")
    assert len(frames) == (80 if said is None else 100)
    assert (said or "no clock") in (caplog.text or "no clock")
    track = timeline(tmp_path / "out.mp4")[0]
    assert max(steps(track)) < 3 * TICK_S


@pytest.mark.parametrize("missing", [0, 77])
def test_a_recording_that_was_cut_anywhere_can_be_joined(tmp_path: Path, missing: int) -> None:
    whole = part(tmp_path / "whole.ts", 40, KINDS["h264.ts"])
    data = whole.read_bytes()
    joined = tmp_path / "joined.ts"
    middle = len(data) // 188 // 2 * 188 - missing
    joined.write_bytes(data[:middle] + data[len(data) // 188 // 3 * 188 :])
    frames = copy(joined, tmp_path / "out.ts")
    assert 30 < len(frames) < 60
    assert sum(frame.starts_scene for frame in frames) == 1


def test_without_this_a_joined_recording_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClockJoiner, "renew", lambda self, packet: None)
    whole = part(tmp_path / "whole.ts", 40, KINDS["h264.ts"])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * whole.read_bytes())
    with pytest.raises(InputError):
        copy(joined, tmp_path / "out.ts")


@dataclass(eq=False)
class Packet:
    """What a joiner needs of one; times in hundredths of a second."""

    stream: Any
    pts: int
    duration: int = 4
    time_base: Fraction = Fraction(1, 100)
    dts: int | None = None


VIDEO = SimpleNamespace(index=0, type="video")
SOUND = SimpleNamespace(index=1, type="audio")
TEXT = SimpleNamespace(index=2, type="subtitle")


@pytest.mark.parametrize("name", ["part.mp4", "part.flv"])
def test_recordings_of_which_only_the_first_can_be_read_are_said(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / name
    record(path, pattern(3))
    with VideoSource(path):
        pass
    assert not caplog.records
    path.write_bytes(2 * path.read_bytes())
    with VideoSource(path) as video:
        assert sum(isinstance(item, SourceFrame) for item in video.read()) == 3
    assert f"{name} holds several recordings" in caplog.text


def renewed(packets: Sequence[Packet]) -> Iterator[int]:
    queue = PacketQueue(iter(packets))
    joiner = ClockJoiner(queue, broadcast=True)
    for packet in queue:
        joiner.renew(packet)
        yield packet.pts


def test_a_pause_of_one_track_is_no_joint() -> None:
    packets = [Packet(VIDEO, at) for at in range(0, 4000, 4)]
    packets[10:10] = [Packet(SOUND, 40)]
    packets[900:900] = [Packet(SOUND, 3600)]
    times = [packet.pts for packet in packets]
    assert list(renewed(packets)) == times


def test_what_of_a_track_comes_late_stays_before_the_joint() -> None:
    before = [*(Packet(VIDEO, at) for at in range(500, 600, 4)), Packet(SOUND, 592)]
    after = [Packet(VIDEO, at) for at in range(102, 200, 4)]
    late = [Packet(SOUND, 596), Packet(SOUND, 600)]
    sound = [Packet(SOUND, 100), Packet(SOUND, 104)]
    texts = [Packet(TEXT, 150, 20)]
    packets = [*before, *after[:2], *late, *after[2:5], *sound, *after[5:], *texts]
    got = dict(zip(map(id, packets), renewed(packets), strict=True))
    # The first part ends with its audio at 604, the second begins with its audio at 100.
    assert [got[id(packet)] for packet in late] == [596, 600]
    assert [got[id(packet)] for packet in sound] == [604, 608]
    assert [got[id(packet)] for packet in after[:2]] == [606, 610]
    assert got[id(texts[0])] == 654


def test_no_mask_reaches_across_a_joint() -> None:
    def covered(joint: int | None) -> list[int]:
        face = Detections(
            np.array([[20, 10, 44, 40]], np.float32),
            np.full(1, 0.9, np.float32),
            np.zeros((1, 5, 2), np.float32),
        )
        found = [(i, face if i < 10 else Detections.empty()) for i in range(20)]
        frames = tracking.fill_gaps(
            found,
            options=TrackingOptions(),
            threshold=0.5,
            time_s=lambda i: i / 25,
            starts_scene=lambda i: i == joint,
        )
        return [i for i, faces in frames if len(faces)]

    assert covered(10) == list(range(10))
    assert max(covered(None)) > 15
