"""Decoding on a device, without one: no frame is lost and none differs, whatever it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from stand_in_device import CLIPS, FRAMES, GONE, StandIn, another_sample, read, warnings

from faceblur.errors import InputError
from faceblur.live.sources import hardware
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.readers import StreamReader
from faceblur.video.hardware import devices, files
from faceblur.video.hardware.choice import Chosen
from faceblur.video.hardware.decoder import DeviceDecoder
from faceblur.video.options import HardwareDecoding


@pytest.mark.parametrize("name", CLIPS)
def test_wherever_a_device_fails_no_frame_is_lost_and_none_differs(
    name: str,
    clips: dict[str, Path],
    on_device: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = read(clips[name], "off")
    assert len(expected) == FRAMES
    on_device()
    assert read(clips[name], "cuda") == expected
    assert not warnings(caplog)
    for fails_at in range(FRAMES + 1):
        on_device(fails_at=fails_at)
        assert read(clips[name], "cuda") == expected, fails_at
    # However many frames it fails at, and files.
    assert warnings(caplog) == [
        f"{clips[name]}: cuda cannot decode it (the GPU is gone); the CPU goes on"
    ]


def _another_range(frame: av.VideoFrame) -> None:
    frame.color_range = 2


def _another_time(frame: av.VideoFrame) -> None:
    frame.pts += 1


@pytest.mark.parametrize(
    ("spoils", "what"),
    [
        (another_sample, "differ from the CPU's"),
        (_another_range, "differ from the CPU's in range"),
        (_another_time, "differ from the CPU's in time"),
    ],
)
def test_a_device_that_shows_something_else_is_not_used(
    clips: dict[str, Path],
    on_device: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    spoils: Callable[[av.VideoFrame], None],
    what: str,
) -> None:
    on_device(spoils=spoils)
    assert read(clips["h264"], "cuda") == read(clips["h264"], "off")
    (said,) = warnings(caplog)
    assert what in said


def test_where_the_next_frame_is_not_certain_nothing_comes_out(
    clips: dict[str, Path],
    on_device: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = tmp_path / "bare.h264"
    with av.open(str(clips["h264"])) as source, av.open(str(bare), "w", format="h264") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    # Its frames have no times by which those that were given could be told.
    on_device(fails_at=0)
    assert len(read(bare, "cuda")) == FRAMES
    on_device(fails_at=20)
    with pytest.raises(InputError, match="run it again with --hardware-decoding off"):
        read(bare, "cuda")
    # Nor can the CPU begin anew where too much would have had to be kept.
    with av.open(str(clips["h264"])) as source:
        start_bytes = sum(
            packet.size for packet, _ in zip(source.demux(video=0), range(9), strict=False)
        )
    monkeypatch.setattr(files, "DeviceDecoder", partial(DeviceDecoder, most_kept_bytes=start_bytes))
    on_device(fails_at=11)
    with pytest.raises(InputError, match="without leaving out a frame"):
        read(clips["h264"], "cuda")
    on_device()
    assert len(read(clips["h264"], "cuda")) == FRAMES


def test_a_camera_keeps_what_lies_between_two_key_frames_and_never_more_than_it_may(
    tmp_path: Path,
) -> None:
    # As cameras send it: no frame waits for a later one, and the rate is held.
    interval, clip = 10, tmp_path / "clip.mkv"
    random = np.random.default_rng(2)
    options = {"preset": "ultrafast", "tune": "zerolatency", "b": "3M", "maxrate": "3M"}
    options |= {"bufsize": "1M", "g": f"{interval}", "sc_threshold": "0"}
    images = [random.integers(0, 256, (96, 160, 3), np.uint8) for _ in range(4 * interval)]
    media.record(clip, images, media.Recording(options=options))

    def peak(most_bytes: int, *, fails_at: int | None = None) -> tuple[int, int]:
        with av.open(str(clip)) as source, av.open(str(clip)) as other:
            stream, context = source.streams.video[0], other.streams.video[0].codec_context
            context.thread_count = 1
            device = DeviceDecoder(
                StandIn(context, fails_at=fails_at),
                stream.codec_context,
                name="cuda",
                label="camera",
                checked=False,
                most_kept_bytes=most_bytes,
            )
            most = count = 0
            for packet in source.demux(stream):
                count += len(device.decode(packet if packet.size else None))
                most = max(most, device.kept_bytes)
            return most, count

    with av.open(str(clip)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
    sizes = [packet.size for packet in packets]
    starts = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert starts == list(range(0, 4 * interval, interval))
    groups = [sum(sizes[start : start + interval]) for start in starts]
    needed, count = peak(hardware.MOST_KEPT_BYTES)
    assert count == len(packets)
    # What comes between two key frames, until the second has come out.
    assert max(groups) <= needed <= max(groups) + 2 * max(sizes)
    assert peak(needed, fails_at=25)[1] == len(packets)
    # With less the device decodes all the same, and nobody pretends to take over from it.
    little = sum(sizes[:3])
    kept, count = peak(little)
    assert (kept <= little, count) == (True, len(packets))
    with pytest.raises(InputError, match="without leaving out a frame"):
        peak(little, fails_at=25)


def test_live_damage_is_passed_on_and_a_lost_device_is_replaced(clips: dict[str, Path]) -> None:
    garbage = av.error.InvalidDataError(1094995529, "garbage")

    def frames(error: Exception, fails_at: int, *, again: bool) -> tuple[list[int | None], int]:
        with av.open(str(clips["h264"])) as source, av.open(str(clips["h264"])) as other:
            stream = source.streams.video[0]
            stand_in = StandIn(other.streams.video[0].codec_context, fails_at=fails_at, error=error)
            device = DeviceDecoder(
                stand_in,
                stream.codec_context,
                name="cuda",
                label="camera",
                checked=False,
                passes=(av.error.InvalidDataError,),
            )
            times, passed = [], 0
            for packet in source.demux(stream):
                try:
                    times += [f.pts for f in device.decode(packet if packet.size else None)]
                except av.error.InvalidDataError:
                    passed += 1
                    stand_in._left = None
            assert device.on_device == again
            return times, passed

    whole, passed = frames(GONE, 15, again=False)
    assert (len(whole), passed) == (FRAMES, 0)
    some, passed = frames(garbage, 15, again=True)
    assert (len(some) < FRAMES, passed) == (True, 1)
    # What a device makes no sense of from the start is its own fault, not the camera's.
    whole, passed = frames(garbage, 0, again=False)
    assert (len(whole), passed) == (FRAMES, 0)


def test_a_camera_is_decoded_on_a_device_as_on_the_cpu(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SourceOptions(kind="rtmp", url="rtmp://camera.example/live")

    def seen(wanted: HardwareDecoding) -> list[bytes]:
        with av.open(str(clips["h264"])) as container:
            reader = StreamReader(source, wanted)
            return [
                each.image.reformat(format="yuv420p").to_ndarray().tobytes()
                for each in reader.decode(container)
            ]

    def open_context(device: str, stream: Any) -> StandIn:
        context = devices.native_context(stream, None)
        context.thread_count = 1
        return StandIn(context, fails_at=fails_at.pop())

    expected = seen("off")
    assert len(expected) == FRAMES
    # None is here.
    assert seen("cuda") == expected
    monkeypatch.setattr(hardware, "choose_decoder", lambda *_, **__: Chosen("cuda", "in a test"))
    monkeypatch.setattr(hardware, "open_context", open_context)
    # When it is asked for what it still holds at the end, and in the middle.
    fails_at = [15, FRAMES]
    while fails_at:
        assert seen("auto") == expected
