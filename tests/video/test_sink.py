"""What is written plays like what was read: same times, same tracks, and nothing said about it."""

from __future__ import annotations

import logging
import struct
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media import (
    NTSC,
    Recording,
    assert_same_times,
    decoded,
    luma,
    pattern,
    probe,
    record,
    timeline,
)

from faceblur.errors import InputError
from faceblur.video.containers import CONTAINERS
from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

TICKS = Fraction(1, 90_000)
B_FRAMES = {"preset": "medium", "bf": "3"}
HEVC = {"preset": "superfast", "x265-params": "log-level=none:bframes=3"}
UNEVEN = [round(90_000 * (i / 30 + (0.011 if i % 5 < 2 else 0))) for i in range(40) if i % 7 != 3]


def copy(source: Path, output: Path, options: VideoOptions | None = None) -> str:
    """Read a video and write every frame as it is."""
    with VideoSource(source) as video, VideoSink(output, video, options) as sink:
        for item in video.read():
            if isinstance(item, SourceFrame):
                sink.write(item)
            else:
                sink.copy(item)
        return sink.encoder


def small(name: str, **how: Any) -> Callable[[Path], Path]:
    """A recipe for a source."""

    def make(folder: Path) -> Path:
        path = folder / f"source{name}"
        frames = len(how.get("times", range(40)))
        record(path, pattern(frames, width=96, height=64), Recording(**how))
        return path

    return make


SOURCES = {
    "even.mp4": small(".mp4", options=B_FRAMES, sounds=["eng"]),
    "uneven.mp4": small(".mp4", times=UNEVEN, time_base=TICKS, sounds=["eng"]),
    "uneven.mkv": small(".mkv", times=UNEVEN, time_base=TICKS, sounds=["eng"]),
    "uneven-b-frames.mp4": small(
        ".mp4", times=UNEVEN, time_base=TICKS, options=B_FRAMES, sounds=["eng"]
    ),
    "uneven-hevc.mp4": small(
        ".mp4", times=UNEVEN, time_base=TICKS, encoder="libx265", options=HEVC, sounds=["eng"]
    ),
    "29.97.mp4": small(".mp4", rate=NTSC, options=B_FRAMES, sounds=["eng", "fra"]),
    "29.97.mkv": small(".mkv", rate=NTSC, options=B_FRAMES),
    "late.mp4": small(
        ".mp4", times=[*range(9_137, 153_137, 3600)], time_base=TICKS, sounds=["eng"]
    ),
    "hevc.mov": small(
        ".mov",
        encoder="libx265",
        pixel_format="yuv420p10le",
        options=HEVC,
        sounds=["eng"],
    ),
    "vp9.webm": small(
        ".webm",
        encoder="libvpx-vp9",
        options={"deadline": "realtime", "cpu-used": "8"},
        sounds=["eng"],
        sound_encoder="libopus",
    ),
    "mpeg4.avi": small(".avi", encoder="mpeg4", options={}),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Sources by name, each made once."""
    paths: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in paths:
            paths[name] = SOURCES[name](tmp_path_factory.mktemp("source"))
        return paths[name]

    return get


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


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_kind_of_file_can_be_written(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "source.mp4", tmp_path / f"out{suffix}"
    sound = {".mxf": []}.get(suffix, ["eng"])
    record(source, pattern(10, width=128, height=96), Recording(sounds=sound))
    copy(source, output)
    kinds = [(track.kind, len(track.times_s) > 0) for track in timeline(output)]
    assert kinds[0] == ("video", True)
    assert kinds[1:] == [("audio", True)] * len(sound)
    assert len(decoded(output)) == 10
    assert np.abs(_grey(output) - _grey(source)).mean() < 6


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


@pytest.mark.parametrize("name", ["100%d.mp4", "a:b [c] é.mp4", "-i.mp4"])
def test_names_of_any_kind_will_do(made: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    source = tmp_path / f"source {name}"
    source.write_bytes(made("even.mp4").read_bytes())
    copy(source, tmp_path / name)
    assert_same_times(source, tmp_path / name)


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


@pytest.mark.parametrize(
    ("how", "suffix", "expected"),
    [
        ({"pixel_format": "yuv420p"}, ".mp4", ("h264", "yuv420p")),
        ({"pixel_format": "yuvj420p"}, ".mp4", ("h264", "yuvj420p")),
        ({"pixel_format": "yuv422p"}, ".mp4", ("h264", "yuv422p")),
        ({"pixel_format": "yuv420p10le"}, ".mp4", ("hevc", "yuv420p10le")),
        ({"pixel_format": "yuv422p10le"}, ".mkv", ("hevc", "yuv422p10le")),
        ({"pixel_format": "yuv420p10le"}, ".webm", ("av1", "yuv420p10le")),
        ({"pixel_format": "gray"}, ".mp4", ("h264", "yuv420p")),
        ({"encoder": "ffv1", "options": {}, "pixel_format": "bgr0"}, ".mp4", ("h264", "yuv420p")),
    ],
)
def test_the_depth_and_the_brightness_of_images_are_kept(
    tmp_path: Path, how: dict[str, Any], suffix: str, expected: tuple[str, str]
) -> None:
    source, output = tmp_path / "source.mkv", tmp_path / f"out{suffix}"
    record(source, pattern(4, width=96, height=64), Recording(**how))
    copy(source, output, VideoOptions(quality=100))
    (stream,) = probe(output)["streams"]
    assert (stream["codec_name"], stream["pix_fmt"]) == expected
    assert np.abs(_grey(output) - _grey(source)).mean() < 2


FULL_RANGE = [".avi", ".wmv", ".ogv", ".mpg", ".mov"]


def test_levels_are_kept_where_full_range_cannot_be_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "camera.avi"
    how = Recording(encoder="mjpeg", pixel_format="yuvj422p", options={"qscale": "2"})
    record(source, pattern(4, width=96, height=64), how)
    for suffix in FULL_RANGE:
        caplog.clear()
        output = tmp_path / f"out{suffix}"
        copy(source, output, VideoOptions(quality=100))
        # VP8 itself loses a level of saturated colours.
        allowed = 2 if suffix == ".ogv" else 1
        assert np.abs(_levels(output) - _levels(source)).max() < allowed, suffix
        converted = suffix != ".mov"
        assert ("cannot say that frames use the full range" in caplog.text) == converted
        halved = suffix in (".avi", ".wmv", ".ogv")
        assert ("keeps colours in less detail (4:2:0 of 4:2:2)" in caplog.text) == halved


def test_the_check_of_levels_notices_full_range_that_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceblur.video.encoders._SAY_RANGE", frozenset(("mpeg4",)))
    source, output = tmp_path / "camera.avi", tmp_path / "out.avi"
    how = Recording(encoder="mjpeg", pixel_format="yuvj422p", options={})
    record(source, pattern(4, width=96, height=64), how)
    copy(source, output, VideoOptions(quality=100))
    assert np.abs(_levels(output) - _levels(source)).max() > 5


def _levels(path: Path) -> Any:
    """Mean red, green and blue, as ffmpeg shows them."""
    line = ["ffmpeg", "-v", "error", "-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    shown = subprocess.run(line, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(shown, np.uint8).reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize(
    ("suffix", "pixel_format", "size"),
    [
        *((".webm", "yuv420p", (95, 63)), (".mkv", "yuv420p", (95, 63))),
        *((".mp4", "yuv444p", (95, 63)), (".mp4", "yuv420p", (96, 64))),
        (".wmv", "yuv420p", (96, 64)),
    ],
)
def test_odd_sizes_are_kept_or_extended_by_a_pixel(
    tmp_path: Path,
    suffix: str,
    pixel_format: str,
    size: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, output = tmp_path / "odd.mkv", tmp_path / f"out{suffix}"
    how = Recording(encoder="ffv1", options={}, pixel_format=pixel_format)
    record(source, pattern(4, width=95, height=63), how)
    copy(source, output, VideoOptions(quality=100))
    after = luma(output)
    assert after[0].shape[::-1] == size
    assert ("to make 96 × 64" in caplog.text) == (size == (96, 64))
    for old, new in zip(luma(source), after, strict=True):
        assert np.abs(new[:63, :95].astype(int) - old).mean() < 2


@pytest.mark.parametrize(("first", "order"), [("tff", "tt"), ("bff", "bb")])
def test_interlaced_video_stays_interlaced(tmp_path: Path, first: str, order: str) -> None:
    if first == "bff" and not hasattr(av.VideoCodecContext, "field_order"):
        pytest.skip("this PyAV cannot tell which field comes first: use 18 or later")
    source, output = tmp_path / "source.mp4", tmp_path / "out.mp4"
    options = {"preset": "medium", "flags": "+ildct+ilme", "x264-params": f"{first}=1"}
    record(source, pattern(10), Recording(options=options))
    copy(source, output)
    orders = [probe(path)["streams"][0]["field_order"] for path in (source, output)]
    assert orders == [order, order]


HDR = (
    "log-level=none:hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):"
    "max-cll=1000,400"
)


@pytest.mark.parametrize(
    ("suffix", "encoder"), [(".mp4", None), (".mkv", "libx264"), (".webm", "libsvtav1")]
)
def test_hdr_stays_hdr(tmp_path: Path, suffix: str, encoder: str | None) -> None:
    source, output = tmp_path / "hdr.mp4", tmp_path / f"out{suffix}"
    options = {"preset": "superfast", "x265-params": HDR}
    how = Recording(encoder="libx265", pixel_format="yuv420p10le", options=options)
    record(source, pattern(5, width=128, height=96), how)
    copy(source, output, VideoOptions(encoder=encoder))
    assert _hdr(output) == _hdr(source)
    stream = probe(output)["streams"][0]
    assert stream["color_transfer"] == "smpte2084"
    assert (stream["color_space"], stream["color_primaries"]) == ("bt2020nc", "bt2020")


def test_losing_depth_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "deep.mp4"
    record(source, pattern(3), Recording(pixel_format="yuv420p10le"))
    with caplog.at_level(logging.WARNING):
        copy(source, tmp_path / "out.mp4", VideoOptions(encoder="mpeg4"))
    assert "8 of 10 bits" in caplog.text


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libvpx-vp9", "libsvtav1", "mpeg4"])
def test_more_quality_is_more_bytes_and_fewer_errors(tmp_path: Path, encoder: str) -> None:
    source = tmp_path / "noise.mkv"
    noise = np.random.default_rng(0)
    images = [
        np.clip(image + noise.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
        for image in pattern(6, width=160, height=96)
    ]
    record(source, images, Recording(encoder="ffv1", options={}))
    sizes, errors = [], []
    for quality in (30, 80, 100):
        output = tmp_path / f"{quality}.mkv"
        assert copy(source, output, VideoOptions(encoder=encoder, quality=quality)) == encoder
        sizes.append(output.stat().st_size)
        errors.append(np.abs(_grey(output) - _grey(source)).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("out.xyz", {}, r"'\.xyz'.*mp4"),
        ("out", {}, "without a suffix"),
        ("out.mp4", {"encoder": "libx266"}, "no video encoder called 'libx266'.*libx264"),
        ("out.mp4", {"encoder": "aac"}, "no video encoder called 'aac'"),
        ("out.webm", {"encoder": "libx264"}, "cannot be written as webm with libx264"),
        ("out.mp4", {"encoder": "h264_v4l2m2m"}, "with h264_v4l2m2m on this machine"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(
    made: Callable[[str], Path], tmp_path: Path, name: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as raised:
        copy(made("even.mp4"), tmp_path / name, VideoOptions(**options))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("options", [{"quality": 101}, {"quality": -1}, {"audio": "loud"}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        VideoOptions(**options)


def test_a_full_disk_is_an_oserror_for_whoever_named_the_file(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from test_sink import copy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    copy(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except OSError as error:\n"
        "    sys.exit(0 if error.errno == 27 else 2)\n"
        "sys.exit(1)\n"
    )
    arguments = [str(made("even.mp4")), str(tmp_path / "out.mp4"), str(Path(__file__).parent)]
    line = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        line, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def _grey(path: Path) -> Any:
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="gray").astype(int) for f in container.decode(video=0)]
    return np.stack(frames)


def _pitch(path: Path) -> float:
    """The loudest frequency of the first audio track, in hertz."""
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(sound)])
        rate = sound.rate
    power = np.abs(np.fft.rfft(samples[: rate // 2]))
    return float(np.argmax(power) * rate / (rate // 2))


def _hdr(path: Path) -> dict[str, tuple[float, ...]]:
    """Mastering display and light level as decoders report them, in units of HEVC's."""
    found: dict[str, tuple[float, ...]] = {}
    with av.open(str(path)) as container:
        for data in next(container.decode(video=0)).side_data:
            if data.type.name == "MASTERING_DISPLAY_METADATA":
                numbers = struct.unpack_from("=20i", bytes(data))
                values = [a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
                found["display"] = tuple(round(value, 3) for value in values)
            elif data.type.name == "CONTENT_LIGHT_LEVEL":
                found["light"] = struct.unpack_from("=2I", bytes(data))
    assert set(found) == {"display", "light"}
    return found
