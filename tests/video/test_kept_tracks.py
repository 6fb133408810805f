"""Sound, subtitles and chapters are kept, and nothing that was not asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from copies import copy
from media import Recording, pattern, record
from probing import assert_same_times, probe, timeline

from faceblur.video.options import VideoOptions


@pytest.fixture(scope="session")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with everything in it."""
    path = tmp_path_factory.mktemp("rich") / "rich.mp4"
    how = Recording(
        sounds=["eng", "fra"],
        subtitles=[(0.2, 0.5, "Hello"), (0.6, 0.9, "GPS(2.294, 48.858, 35)"), (1.0, 1.3, "Bye")],
        chapters=[(0, 0.8, "One"), (0.8, 1.6, "Two")],
        metadata={
            "title": "secret",
            "artist": "secret",
            "location": "+48.8583+002.2944/",
            "creation_time": "2024-05-06T07:08:09Z",
        },
        setup=lambda stream: stream.metadata.update(timecode="01:02:03:04", title="secret"),
        thumbnail=True,
    )
    record(path, pattern(40, width=96, height=64), how)
    kinds = [stream["codec_type"] for stream in probe(path)["streams"]]
    assert kinds.count("video") == 2
    assert "data" in kinds
    assert b"secret" in path.read_bytes()
    return path


def test_sound_subtitles_and_chapters_are_kept(rich: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    copy(rich, output)
    assert_same_times(rich, output, kinds=["audio"])
    found = probe(output)
    audio = [stream for stream in found["streams"] if stream["codec_type"] == "audio"]
    assert [stream["tags"]["language"] for stream in audio] == ["eng", "fra"]
    texts = [track for track in timeline(output) if track.kind == "subtitle"]
    assert [Fraction(1, 5), 1] == [t for t in texts[0].times_s if t in (Fraction(1, 5), 1)]
    assert [c["tags"] for c in found["chapters"]] == [{"title": "One"}, {"title": "Two"}]
    assert [float(c["start_time"]) for c in found["chapters"]] == [0, 0.8]


def test_nothing_is_left_that_was_not_asked_for(rich: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    copy(rich, output)
    kinds = [(s["codec_type"], s["codec_name"]) for s in probe(output)["streams"]]
    # MP4 keeps its chapters as a track of text.
    assert sorted(set(kinds)) == [
        *(("audio", "aac"), ("data", "bin_data"), ("subtitle", "mov_text"), ("video", "h264")),
    ]
    assert kinds.count(("video", "h264")) == kinds.count(("data", "bin_data")) == 1
    assert "creation_time" not in probe(output)["format"]["tags"]
    content = output.read_bytes()
    for private in (b"secret", b"48.85", b"GPS", b"01:02:03:04", b"tmcd", b"Lavf", b"title of"):
        assert private not in content


def test_matroska_keeps_what_is_played_and_nothing_else(tmp_path: Path) -> None:
    source, output = tmp_path / "rich.mkv", tmp_path / "out.mkv"
    how = Recording(
        sounds=["eng", "fra"],
        subtitles=[(0.2, 0.5, "Hello"), (0.6, 0.9, "GPS(2.294, 48.858, 35)"), (1.0, 1.3, "Bye")],
        chapters=[(0, 0.8, "One"), (0.8, 1.6, "Two")],
        metadata={"title": "secret", "location": "+48.8583+002.2944/"},
        setup=lambda stream: stream.metadata.update(title="secret"),
        attachments=[("cover.jpg", "image/jpeg", b"a picture of a face" * 20)],
    )
    record(source, pattern(40, width=96, height=64), how)
    copy(source, output)
    assert_same_times(source, output, kinds=["audio"])
    assert timeline(output)[0].times_s == timeline(source)[0].times_s
    found = probe(output)
    kinds = [stream["codec_type"] for stream in found["streams"]]
    assert kinds == ["video", "audio", "audio", "subtitle"]
    languages = [stream["tags"]["language"] for stream in found["streams"][1:3]]
    assert languages == ["eng", "fra"]
    (texts,) = (track for track in timeline(output) if track.kind == "subtitle")
    assert texts.times_s == (Fraction(1, 5), 1)
    assert [c["tags"] for c in found["chapters"]] == [{"title": "One"}, {"title": "Two"}]
    content = output.read_bytes()
    assert b"Hello" in content
    for private in (b"secret", b"48.85", b"GPS", b"a picture", b"title of"):
        assert private in source.read_bytes()
        assert private not in content


def test_metadata_is_kept_when_asked_for_but_no_thumbnail(rich: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    copy(rich, output, VideoOptions(keep_metadata=True))
    found = probe(output)
    assert found["format"]["tags"]["title"] == "secret"
    assert found["format"]["tags"]["creation_time"].startswith("2024-05-06T07:08:09")
    assert "48.8583" in found["format"]["tags"]["location"]
    assert sum(stream["codec_type"] == "video" for stream in found["streams"]) == 1


def test_timed_metadata_is_dropped(tmp_path: Path) -> None:
    source, output = tmp_path / "drone.ts", tmp_path / "out.ts"
    record(source, pattern(20), Recording(positions=True))
    assert [stream["codec_name"] for stream in probe(source)["streams"]] == ["h264", "klv"]
    copy(source, output)
    assert [stream["codec_name"] for stream in probe(output)["streams"]] == ["h264"]
    assert b"N48.858" in source.read_bytes()
    assert b"N48.858" not in output.read_bytes()


def test_fonts_of_subtitles_are_kept_and_other_attachments_dropped(tmp_path: Path) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / "out.mkv"
    attachments = [
        ("Sans.ttf", "font/ttf", b"\0\1\0\0" + b"the font" * 20),
        ("Serif.ttf", "font/ttf", b"\xff\xd8another face" * 20),
        ("cover.jpg", "image/jpeg", b"a picture of a face" * 20),
    ]
    record(source, pattern(5), Recording(attachments=attachments, subtitles=[(0.0, 0.1, "Hello")]))
    assert b"a picture of a face" in source.read_bytes()
    copy(source, output)
    content = output.read_bytes()
    assert b"the font" in content
    assert b"Sans.ttf" in content
    assert b"another face" not in content
    assert b"a picture of a face" not in content


def test_sound_can_be_dropped(made: Callable[[str], Path], tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    copy(made("even.mp4"), output, VideoOptions(audio="drop"))
    assert [track.kind for track in timeline(output)] == ["video"]


def test_sound_that_the_container_cannot_hold_is_converted(
    made: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out.webm"
    with caplog.at_level(logging.WARNING):
        copy(made("29.97.mp4"), output)
    assert "converting sound track #1 to libopus" in caplog.text
    found = probe(output)["streams"]
    assert [s["codec_name"] for s in found] == ["vp9", "opus", "opus"]
    assert [s["tags"]["language"] for s in found[1:]] == ["eng", "fra"]
    assert (
        _pitch(output)
        == pytest.approx(_pitch(made("29.97.mp4")), abs=3)
        == pytest.approx(440, abs=3)
    )


def _pitch(path: Path) -> float:
    """The loudest frequency of the first audio track, in hertz."""
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(sound)])
        rate = sound.rate
    power = np.abs(np.fft.rfft(samples[: rate // 2]))
    return float(np.argmax(power) * rate / (rate // 2))
