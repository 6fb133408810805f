"""Of muted sound nothing is left, to the sample, and around it everything."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import Recording, pattern, record
from probing import assert_same_times, probe

from faceblur.errors import InputError
from faceblur.times import TimeSpan
from faceblur.video.frames import SourceFrame
from faceblur.video.muting import Muting, SoundSpan
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

RATE = 48_000
FRAMES = pattern(50, width=64, height=48)


def copy(source: Path, output: Path, *spans: str) -> None:
    muted = []
    for span in spans:
        effect, time = span.split()
        assert effect in ("mute", "beep")
        named: Literal["mute", "beep"] = "mute" if effect == "mute" else "beep"
        muted.append(SoundSpan(named, TimeSpan.parse(time)))
    options = VideoOptions(muted=tuple(muted))
    with VideoSource(source) as video, VideoSink(output, video, options) as sink:
        for item in video.read():
            if isinstance(item, SourceFrame):
                sink.write(item)
            else:
                sink.copy(item)


def heard(path: Path, track: int = 0) -> npt.NDArray[np.float64]:
    """All samples of a track, the first channel, on the clock of the frames."""
    with av.open(str(path)) as played:
        start = min(float(stream.start_time * stream.time_base) for stream in played.streams)
        whole: Any = np.zeros(0)
        for frame in played.decode(audio=track):
            channels = 1 if frame.format.is_planar else frame.layout.nb_channels
            part = frame.to_ndarray()[0][::channels].astype(float)
            at = round((frame.pts * frame.time_base - Fraction(start)) * RATE)
            whole = np.pad(whole, (0, max(0, at + len(part) - len(whole))))
            whole[at : at + len(part)] = part
    return np.asarray(whole)


@pytest.fixture(scope="module")
def two_seconds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "plain.mov"
    texts = [(0.1, 0.4, "Good morning"), (0.6, 0.9, "My name is Anna"), (1.6, 1.9, "And so on")]
    recording = Recording(sounds=["eng", "fra"], sound_encoder="pcm_s16le", subtitles=texts)
    record(path, FRAMES, recording)
    return path


@pytest.mark.parametrize("start", ["0.75", "0.123457", "0"])
def test_exactly_the_samples_of_a_span_are_silent_and_all_others_as_they_were(
    two_seconds: Path, tmp_path: Path, start: str
) -> None:
    output = tmp_path / "out.mov"
    copy(two_seconds, output, f"mute {start}-0:01.5")
    assert_same_times(two_seconds, output, kinds=("video",))
    assert [s["codec_name"] for s in probe(output)["streams"]][1:3] == ["pcm_s16le"] * 2
    for track in (0, 1):
        before, after = heard(two_seconds, track), heard(output, track)
        first, last = -int(-float(start) * RATE // 1), 3 * RATE // 2
        assert len(before) == len(after) == 2 * RATE
        assert not after[first:last].any()
        assert np.abs(before[first:last]).max() > 9000
        assert np.array_equal(before[:first], after[:first])
        assert np.array_equal(before[last:], after[last:])


def test_a_tone_hides_all_that_was_said_and_silence_hides_the_tone(
    two_seconds: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mov"
    copy(two_seconds, output, "mute 1-1.2", "beep 0.5-1.5", "beep 1:00-")
    sound = heard(output)
    assert not sound[RATE : 12 * RATE // 10].any()
    for start, end in ((0.5, 1.0), (1.2, 1.5)):
        part = sound[round(start * RATE) : round(end * RATE)]
        strength = np.abs(np.fft.rfft(part))
        assert np.argmax(strength) * RATE / len(part) == pytest.approx(1000)
        # The tone of the source is at 440 Hz.
        assert strength[round(440 * len(part) / RATE)] < 1e-3 * strength.max()
        assert np.abs(part).max() == pytest.approx(3277, abs=2)
    assert np.array_equal(sound[3 * RATE // 2 :], heard(two_seconds)[3 * RATE // 2 :])


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.ts"])
def test_of_lossy_sound_nothing_is_heard_in_a_span(
    two_seconds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    middle, output = tmp_path / f"source{name[3:]}", tmp_path / name
    copy(two_seconds, middle)
    with caplog.at_level(logging.WARNING):
        copy(middle, output, "mute 0.5-1.25")
    assert "a part of it is muted" in caplog.text
    before, after = heard(middle), heard(output)
    scale = np.abs(before).max()
    # Coders smear an edge by a block, and Opus takes out a constant that fades: what is left is an
    # echo of what is heard beside the span.
    edge = 2048 + 960
    inside = slice(RATE // 2 + edge, 5 * RATE // 4 - edge)
    assert np.abs(after[inside]).max() < 3e-3 * scale < 0.01 * np.abs(before[inside]).max()
    for kept in (slice(edge, RATE // 2 - edge), slice(5 * RATE // 4 + edge, 19 * RATE // 10)):
        loudness = np.sqrt(np.mean(after[kept] ** 2) / np.mean(before[kept] ** 2))
        assert loudness == pytest.approx(1, abs=0.05)


def test_what_is_not_to_be_heard_is_not_to_be_read(two_seconds: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mov"
    copy(two_seconds, output, "mute 0:00.7-0:01.2")
    content = output.read_bytes()
    assert b"Good morning" in content
    assert b"And so on" in content
    assert b"Anna" not in content
    copy(two_seconds, output, "mute 0:00.9-0:01.2")
    assert b"Anna" in output.read_bytes()


def test_the_clock_is_that_of_the_frames_wherever_it_starts(
    two_seconds: Path, tmp_path: Path
) -> None:
    made, late, output = tmp_path / "made.ts", tmp_path / "late.ts", tmp_path / "out.mkv"
    copy(two_seconds, made)
    with av.open(str(made)) as read, av.open(str(late), "w") as written:
        streams = {each: written.add_stream_from_template(each) for each in read.streams}
        for packet in read.demux():
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = packet.pts + 5 * 90_000, packet.dts + 5 * 90_000
                packet.stream = streams[packet.stream]
                written.mux(packet)
    with VideoSource(late) as video:
        assert video.start_s > 4
    for path in (output, tmp_path / "out.ts"):
        copy(late, path, "beep 0.5-1.5")
        sound = heard(path)
        windows = sound[: len(sound) // 2400 * 2400].reshape(-1, 2400)
        pitch = np.abs(np.fft.rfft(windows)).argmax(1) * RATE / 2400
        beeped = np.flatnonzero(np.abs(pitch - 1000) < 30)
        assert list(beeped[[0, -1]]) == pytest.approx([10, 29], abs=1), path.name


def test_a_span_without_sound_is_said(
    two_seconds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = tmp_path / "silent.mp4"
    record(silent, FRAMES)
    with caplog.at_level(logging.WARNING):
        copy(two_seconds, tmp_path / "out.mov", "mute 1:00-1:10")
        assert "has no sound at 1:00-1:10: nothing was muted" in caplog.text
        copy(silent, tmp_path / "out.mp4", "mute 0:01-")
        assert "silent.mp4 has no sound: there is nothing to mute" in caplog.text


@pytest.mark.parametrize("kind", ["u8", "s16", "s16p", "s32", "fltp", "dbl"])
def test_every_kind_of_samples_is_silenced(kind: str) -> None:
    channels = 1 if not kind.endswith("p") else 2
    frame = av.AudioFrame(kind, "stereo", 100)
    for plane in frame.planes:
        plane.update(bytes([200]) * plane.buffer_size)
    frame.sample_rate, frame.pts, frame.time_base = 100, 0, Fraction(1, 100)
    span = SoundSpan("mute", TimeSpan(Fraction(1, 10), Fraction(2, 10)))
    muting = Muting([span], start_s=Fraction(5))
    muting.erase(frame, Fraction(6))
    assert muting.unmet == [span]
    muting.erase(frame, Fraction(5))
    assert not muting.unmet
    samples = frame.to_ndarray().reshape(channels, 100, -1)
    silent = samples == (128 if kind == "u8" else 0)
    assert silent[:, 10:20].all()
    assert not silent[:, :10].any()
    assert not silent[:, 20:].any()


def test_sound_that_is_dropped_cannot_be_muted() -> None:
    span = SoundSpan("mute", TimeSpan(Fraction(0)))
    with pytest.raises(InputError, match="all of the sound is dropped"):
        VideoOptions(audio="drop", muted=(span,))
