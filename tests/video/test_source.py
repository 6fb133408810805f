"""Frames with exact times from good files; one clear sentence for bad ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from media import NTSC, Recording, pattern, record
from probing import decoded

from faceblur.errors import InputError
from faceblur.video.damage import FrameLedger
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource

TICKS = Fraction(1, 90_000)
UNEVEN = [0, 3000, 3700, 9000, 9001, 15000, 33333, 40000, 90000, 91000, 95000, 180000]
B_FRAMES = {"preset": "medium", "bf": "3", "g": "30"}
SMALL = pattern(40, width=96, height=64)


def frames_of(path: Path) -> list[SourceFrame]:
    with VideoSource(path) as source:
        return [item for item in source.read() if isinstance(item, SourceFrame)]


def test_times_are_exact_when_frames_come_unevenly_and_out_of_order(tmp_path: Path) -> None:
    path = tmp_path / "uneven.mp4"
    how = Recording(times=UNEVEN, time_base=TICKS, options=B_FRAMES)
    record(path, pattern(len(UNEVEN)), how)
    frames = frames_of(path)
    assert [frame.pts_s for frame in frames] == [t * TICKS for t in UNEVEN]
    assert [frame.index for frame in frames] == list(range(len(UNEVEN)))


def test_29_97_is_not_30(tmp_path: Path) -> None:
    path = tmp_path / "ntsc.mp4"
    record(path, pattern(30), Recording(rate=NTSC, options=B_FRAMES))
    assert [frame.pts_s for frame in frames_of(path)] == [i / NTSC for i in range(30)]
    with VideoSource(path) as source:
        assert (source.properties.rate, source.frame_count) == (NTSC, 30)


def test_avi_without_times_is_even(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    record(path, pattern(20), Recording(options=B_FRAMES))
    gaps = {b.pts_s - a.pts_s for a, b in itertools.pairwise(frames_of(path))}
    assert gaps == {Fraction(1, 25)}


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le", "gray"])
def test_samples_come_out_as_they_were_decoded(tmp_path: Path, pixel_format: str) -> None:
    path = tmp_path / "clip.mkv"
    how = Recording(encoder="ffv1", options={}, pixel_format=pixel_format)
    record(path, pattern(3, width=98, height=66), how)
    for frame, array in zip(frames_of(path), decoded(path), strict=True):
        assert frame.image.format.name == pixel_format
        assert (frame.image.to_ndarray() == array).all()


def test_sound_and_images_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    record(path, SMALL, Recording(sounds=["eng", "fra"]))
    with VideoSource(path) as source:
        assert [track.type for track in source.tracks] == ["audio", "audio"]
        order = [
            None if isinstance(item, SourceFrame) else item.stream.index for item in source.read()
        ]
    assert order.count(None) == 40
    assert set(order) == {None, 1, 2}
    assert 0 < order.index(2) < 20 < order.index(None, 40)


def test_thumbnails_are_not_the_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    record(path, SMALL[:3], Recording(thumbnail=True))
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 2
    assert len(frames_of(path)) == 3


def test_what_an_encoder_needs_is_known_before_the_first_frame(tmp_path: Path) -> None:
    def tag(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.color_range, context.colorspace = 2, 9
        context.color_primaries, context.color_trc = 9, 18
        context.sample_aspect_ratio = Fraction(4, 3)

    path = tmp_path / "clip.mp4"
    record(path, SMALL[:3], Recording(pixel_format="yuv420p10le", setup=tag))
    with VideoSource(path) as source:
        found = source.properties
    assert (found.width, found.height, found.pixel_format) == (96, 64, "yuv420p10le")
    assert (found.color_range, found.color_space) == (2, 9)
    assert (found.color_primaries, found.color_transfer) == (9, 18)
    assert found.sample_aspect_ratio == Fraction(4, 3)


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("this is not a video\n" * 20)


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4000))


def _image(path: Path) -> None:
    path.write_bytes(cv2.imencode(".jpg", SMALL[0])[1].tobytes())


def _sound(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4800), np.float32), "fltp", "stereo")
        frame.sample_rate, frame.pts = 48_000, 0
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))


def _folder(path: Path) -> None:
    path.mkdir()


def _missing(path: Path) -> None:
    pass


def _playlist(path: Path) -> None:
    other = path.with_name("other.mp4")
    record(other, SMALL[:3])
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_nothing, "empty"),
        (_text, "not a video that can be read"),
        (_noise, "not a video that can be read"),
        (_image, "is an image"),
        (_sound, "only sound"),
        (_folder, "is a folder"),
        (_missing, "No such file"),
        (_playlist, "not a video that can be read"),
    ],
)
def test_what_is_no_video_is_said(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(InputError, match=reason) as raised:
        VideoSource(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.webm", "clip.avi"])
@pytest.mark.parametrize("share", [0.97, 0.5])
def test_a_file_that_was_cut_off_is_said(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    encoder = "libvpx" if name.endswith("webm") else "mpeg4"
    record(path, SMALL, Recording(encoder=encoder, options={}))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="cut off"):
        VideoSource(path)


def test_a_file_whose_index_comes_first_can_be_cut_off_too(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    record(path, SMALL)
    streamed = tmp_path / "streamed.mp4"
    with (
        av.open(str(path)) as source,
        av.open(str(streamed), "w", container_options={"movflags": "+faststart"}) as output,
    ):
        copy = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                output.mux(packet)
    streamed.write_bytes(streamed.read_bytes()[:-500])
    with pytest.raises(InputError, match="last 500 bytes are missing"):
        VideoSource(streamed)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_damage_in_the_middle_is_an_error_that_says_where(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    options = {"preset": "ultrafast", "g": "10", "qp": "10", "threads": "1"}
    record(path, SMALL, Recording(options=options))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][20]
        start, size = packet.pos, packet.size
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged .*(0\.\d+ s|\d+ %)"):
        frames_of(path)


def test_a_frame_that_the_decoder_swallows_is_noticed() -> None:
    ledger = FrameLedger()
    for sent in (0, 80, 40, 160, 120, 240, 200):
        ledger.expect(sent)
    assert [ledger.deliver(shown) for shown in (0, 40, 80, 160, 200)] == [*[None] * 3, 120, None]
    assert ledger.remaining() == 240


def test_frames_before_the_first_key_frame_are_not_missed() -> None:
    ledger = FrameLedger()
    for pts in (0, 40, 80, 120):
        ledger.expect(pts)
    assert ledger.deliver(80) is None
    assert ledger.deliver(120) is None
    assert ledger.remaining() is None


@pytest.mark.parametrize("at", [0.3, 0.6])
def test_a_break_in_the_structure_of_matroska_is_said(tmp_path: Path, at: float) -> None:
    """The demuxer itself would skip to the next cluster, and say nothing."""
    path = tmp_path / "clip.mkv"
    record(path, pattern(40), Recording(encoder="mjpeg", pixel_format="yuvj420p", options={}))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    packet = packets[int(len(packets) * at)]
    # The block's own header is the four bytes before its data, its size comes before that.
    data[packet.pos - 8 : packet.pos] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(InputError, match="%"):
        VideoSource(path)


def test_a_live_recording_without_a_length_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "live.webm"
    with av.open(str(path), "w", container_options={"live": "1"}) as output:
        video = output.add_stream("libvpx", rate=25, options={"deadline": "realtime"})
        video.width, video.height = 96, 64
        for image in SMALL:
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(video.encode(None))
    assert len(frames_of(path)) == 40


def test_images_that_change_their_size_are_brought_to_the_first(tmp_path: Path) -> None:
    small, large = tmp_path / "small.ts", tmp_path / "large.ts"
    record(small, pattern(5, width=96, height=64))
    record(large, pattern(5, width=192, height=128), Recording(times=range(5, 10)))
    both = tmp_path / "both.ts"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    assert {(f.image.width, f.image.height) for f in frames_of(both)} == {(96, 64)}
