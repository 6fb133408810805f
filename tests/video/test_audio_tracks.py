"""Sound of old cameras comes along, and what a file cannot hold is known before its first frame."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from media import Recording, pattern, record
from probing import probe

from faceblur.video.frames import SourceFrame
from faceblur.video.output import Output, settle
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

SMALL = pattern(25, width=96, height=64)
ALL = [".mp4", ".3gp", ".mkv", ".ts", ".flv", ".webm", ".wmv", ".avi", ".mpg", ".mxf", ".ogv"]


def copy(source: Path, output: Path) -> None:
    with VideoSource(source) as video, VideoSink(output, video) as sink:
        for item in video.read():
            if isinstance(item, SourceFrame):
                sink.write(item)
            else:
                sink.copy(item)


def camera(path: Path, codec: str, *, rate: int = 8000, channels: str = "mono") -> Path:
    """A second of frames, and of a tone whose channels have no names when it is read."""
    count = av.AudioLayout(channels).nb_channels
    tone = 8000 * np.sin(2 * np.pi * 400 * np.arange(rate) / rate)
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height = 96, 64
        sound = output.add_stream(codec, rate=rate)
        sound.codec_context.layout, sound.codec_context.bit_rate = channels, 64_000
        samples = np.repeat(tone.astype(np.int16), count)[None]
        frame = av.AudioFrame.from_ndarray(samples, "s16", channels)
        frame.sample_rate, frame.pts = rate, 0
        for image in SMALL:
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(video.encode(None))
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "channels"),
    [
        ("g711.avi", "pcm_alaw", 8000, "mono"),
        ("wma.wmv", "wmav2", 44_100, "stereo"),
        ("pcm.avi", "pcm_s16le", 11_025, "stereo"),
        ("quad.mkv", "pcm_s16le", 48_000, "quad"),
        ("many.mkv", "pcm_s16le", 48_000, "hexadecagonal"),
    ],
)
def test_sound_whose_channels_have_no_names_is_kept(
    tmp_path: Path, name: str, codec: str, rate: int, channels: str
) -> None:
    source = camera(tmp_path / name, codec, rate=rate, channels=channels)
    with VideoSource(source) as video:
        layout = video.tracks[0].codec_context.layout.name  # type: ignore[union-attr]
    assert layout.endswith("channels")
    for suffix in ALL:
        output = tmp_path / f"out{suffix}"
        copy(source, output)
        with av.open(str(output)) as played:
            sound = np.concatenate(
                [frame.to_ndarray()[0].astype(float) for frame in played.decode(audio=0)]
            )
            assert len(played.streams.audio) == 1
            taken = played.streams.audio[0].codec_context
        heard = len(sound) / taken.sample_rate
        heard /= 1 if taken.format.is_planar else taken.layout.nb_channels
        assert heard == pytest.approx(1, abs=0.17), suffix
        assert np.abs(sound).max() > 0.05 * (32767 if np.abs(sound).max() > 2 else 1), suffix


def test_what_only_the_end_of_a_file_would_show_is_known_before_its_first_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = camera(tmp_path / "pcm.avi", "pcm_s16le", channels="stereo")
    output = tmp_path / "out.mp4"
    with VideoSource(source) as video:
        sink = VideoSink(output, video)
        sink.abandon()
        plan = replace(sink._plan, container=replace(sink._plan.container, plain_audio=True))
        assert settle(plan) == {1: "convert"}
        with pytest.raises(av.error.FFmpegError):
            _complete(Output(str(output), plan, {1: "copy"}), video)
    with caplog.at_level(logging.WARNING):
        copy(source, output)
    assert "converting sound track #1 to aac: mp4 cannot hold pcm_s16le" in caplog.text
    assert [s["codec_name"] for s in probe(output)["streams"]] == ["h264", "aac"]


def _complete(output: Output, video: VideoSource) -> None:
    """Write a file without asking first."""
    output.container.mux(output.video.encode(None))
    for item in video.read():
        if not isinstance(item, SourceFrame):
            output.container.mux(list(output.tracks[1].packets(item)))
    output.container.close()


def test_a_name_for_every_channel_is_no_reason_to_convert(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source.mkv"
    record(source, SMALL, Recording(sounds=["eng"]))
    copy(source, tmp_path / "out.mp4")
    assert not caplog.records
