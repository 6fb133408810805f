"""Decoding and encoding on a device, without one: what it would do, the CPU does in its place."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from doubles import OneByOne

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.outcome import RunOptions
from faceblur.batch.video import mask_video
from faceblur.cli import doctor
from faceblur.detection.detector import ModelInfo, ModelInput
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.gpus import Gpu
from faceblur.live.sources import hardware
from faceblur.live.sources.options import SourceOptions
from faceblur.live.sources.readers import StreamReader
from faceblur.masks.policy import Policy
from faceblur.video import encoders
from faceblur.video.containers import container_for
from faceblur.video.frames import SourceFrame
from faceblur.video.hardware import choice, decoder, devices, files, probe
from faceblur.video.hardware.choice import Chosen
from faceblur.video.hardware.decoder import DeviceDecoder
from faceblur.video.hardware.probe import Measurement, Pace, Question
from faceblur.video.options import HardwareDecoding, VideoOptions
from faceblur.video.source import VideoSource

GONE = av.error.ExternalError(542398533, "the GPU is gone")
FRAMES = 40
CLIPS: dict[str, media.Recording] = {
    "h264": media.Recording(options={"preset": "fast", "g": "12", "bf": "3"}),
    "open.h264": media.Recording(
        options={"preset": "fast", "bf": "3", "x264-params": "open-gop=1:keyint=12"}
    ),
    "hevc": media.Recording(
        encoder="libx265",
        pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": "keyint=10:log-level=none:bframes=3"},
    ),
    "vp9": media.Recording(
        encoder="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8", "g": "15"}
    ),
    "av1": media.Recording(encoder="libsvtav1", options={"preset": "13", "g": "16"}),
}
NOW_IN_NV12 = {"yuv420p": "nv12", "yuv420p10le": "p010le"}


class StandIn:
    """A device: gives the frames of the CPU in a device's layout, and fails when told to."""

    def __init__(
        self,
        context: Any,
        *,
        fails_at: int | None = None,
        error: Exception = GONE,
        spoils: Callable[[av.VideoFrame], None] = lambda frame: None,
    ) -> None:
        self._context = context
        self._left = fails_at
        self._error = error
        self._spoils = spoils

    def decode(self, packet: av.Packet[Any] | None) -> list[av.VideoFrame]:
        if self._left == 0:
            raise self._error
        if self._left is not None:
            self._left -= 1
        frames = []
        for frame in self._context.decode(packet):
            name = frame.format.name
            frames.append(frame.reformat(format=NOW_IN_NV12.get(name, name)))
            self._spoils(frames[-1])
        return frames


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (64, 96, 3), np.uint8)
    images = [np.roll(image, 2 * i, axis=1) for i in range(FRAMES)]
    made = {}
    for name, recording in CLIPS.items():
        made[name] = folder / f"{name}.mkv"
        media.record(made[name], images, recording)
    return made


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a device in place that the CPU stands in for."""
    monkeypatch.setattr(decoder, "_said", set())

    def put(**how: Any) -> None:
        def open_context(device: str, path: Path, stream: Any) -> tuple[StandIn, Any]:
            container = av.open(str(path))
            context = container.streams[stream.index].codec_context
            assert context is not None
            context.thread_count = 1
            return StandIn(context, **how), container

        monkeypatch.setattr(files, "open_context", open_context)
        monkeypatch.setattr(files, "choose_decoder", lambda *_: Chosen("cuda", "in a test"))

    return put


Read = list[tuple[int, str, bytes]]


def read(path: Path, hardware: HardwareDecoding) -> Read:
    """Time, format and samples of each frame."""
    with VideoSource(path, hardware=hardware) as source:
        frames = [item for item in source.read() if isinstance(item, SourceFrame)]
    return [(f.pts, f.image.format.name, f.image.to_ndarray().tobytes()) for f in frames]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


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


def _another_sample(frame: av.VideoFrame) -> None:
    samples = np.frombuffer(memoryview(frame.planes[0]), np.uint8).copy()
    samples[100] ^= 1
    frame.planes[0].update(samples.tobytes())


def _another_range(frame: av.VideoFrame) -> None:
    frame.color_range = 2


def _another_time(frame: av.VideoFrame) -> None:
    frame.pts += 1


@pytest.mark.parametrize(
    ("spoils", "what"),
    [
        (_another_sample, "differ from the CPU's"),
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


def record_of(**paces: Pace) -> Measurement:
    return Measurement(
        decoders={"h264": {"cpu": Pace(frames_per_s=250, cpu_s=0.004), **paces}},
        encoders={
            "libx264": Pace(frames_per_s=100, cpu_s=0.02),
            "h264_nvenc": paces.get("cuda", Pace(objection="not here")),
        },
    )


@pytest.mark.parametrize(
    ("pace", "objection"),
    [
        (Pace(frames_per_s=600, cpu_s=0.001), ""),
        (Pace(frames_per_s=200, cpu_s=0.001), "slower than a core"),
        (Pace(frames_per_s=900, cpu_s=0.0035), "about as much of the CPU"),
        (Pace(objection="its frames differ from the CPU's"), "its frames differ"),
    ],
)
def test_auto_takes_a_device_only_where_it_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, pace: Pace, objection: str
) -> None:
    monkeypatch.setattr(choice, "candidates", lambda: ("cuda",))
    monkeypatch.setattr(choice, "measurement", lambda *_, **__: record_of(cuda=pace))
    chosen = choice.choose_decoder("auto", "h264")
    assert chosen.name == (None if objection else "cuda")
    assert (objection or "600 frames of 1080p a second") in chosen.why
    assert choice.choose_decoder("auto", "vp9") == Chosen(None, "not measured")
    monkeypatch.setattr(choice, "candidates", lambda: ())
    assert choice.choose_decoder("auto", "h264").name is None


def test_what_was_measured_is_remembered_and_what_failed_is_tried_again_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path))
    gpus = (Gpu(0, "Test GPU", "580.1", 16 << 30),)
    monkeypatch.setattr(choice, "find_gpus", lambda: gpus)
    monkeypatch.setattr(choice, "Question", lambda **how: Question(**how, size=(64, 64), frames=4))
    choice.measurement.cache_clear()
    assert choice.measurement(("cuda",), may_measure=False) == Measurement()
    # A process of its own tries it, and finds none.
    found = choice.measurement(("cuda",))
    assert found.decoders.keys() == set(devices.EXACT_CODECS)
    for paces in found.decoders.values():
        assert paces["cpu"].frames_per_s > 0
        assert paces["cuda"].objection
    assert found.encoders.keys() == {"h264_nvenc", "hevc_nvenc", "av1_nvenc"}
    assert all(pace.objection for pace in found.encoders.values())
    record = choice._record_path(("cuda",))
    assert choice._remembered(record) == found
    past = time.time() - choice._AGAIN_S
    os.utime(record, (past, past))
    assert choice._remembered(record) is None
    works = record_of(cuda=Pace(frames_per_s=600, cpu_s=0.001))
    record.write_text(json.dumps(asdict(works)))
    os.utime(record, (past, past))
    assert choice._remembered(record) == works
    # Another driver is another measurement.
    gpus = (Gpu(0, "Test GPU", "590", 16 << 30),)
    assert choice._record_path(("cuda",)) != record
    # A driver that ends the process that tries it is not used.
    choice.measurement.cache_clear()
    with monkeypatch.context() as broken:
        broken.setattr(choice.sys, "executable", "false")
        assert choice.measurement(("cuda",)) == Measurement()
    assert "the process that tried it died" in warnings(caplog)[-1]
    # Where nothing can be kept, the processes that this one starts are told.
    monkeypatch.setenv(choice._HANDED_ON, "")
    monkeypatch.setattr(choice, "_measured", lambda _: works)
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    monkeypatch.setenv("FACEBLUR_CACHE", str(nowhere))
    choice.measurement.cache_clear()
    assert choice.measurement(("cuda",)) == works
    monkeypatch.setattr(choice, "_measured", None)
    choice.measurement.cache_clear()
    assert choice.measurement(("cuda",), may_measure=False) == works
    choice.measurement.cache_clear()


def test_the_measurement_sees_a_device_that_works_and_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    question = Question(devices=("one",), size=(96, 64), frames=6)
    images = list(probe.sample_images(question))
    sample = probe._encoded("libx264", {"preset": "ultrafast"}, images)

    def measured(**how: Any) -> Pace:
        def open_context(device: str, stream: Any) -> StandIn:
            return StandIn(stream.codec_context, **how)

        monkeypatch.setattr(probe, "device_context", open_context)
        return probe._decoding(sample, "one")

    good = measured()
    assert (good.objection, good.frames_per_s > 0, good.cpu_s > 0) == ("", True, True)
    assert measured(spoils=_another_sample).objection == "its frames differ from the CPU's"
    assert measured(fails_at=3).objection == "the GPU is gone"
    assert probe._decoding(sample, "cpu").frames_per_s > 0
    # An encoder too is held against what it was given.
    assert probe._encoding("libx264", images).objection == ""
    monkeypatch.setattr(probe, "encoder_settings", lambda *_: {"preset": "ultrafast", "crf": "51"})
    assert "spoils frames" in probe._encoding("libx264", images).objection
    assert probe._encoding("h264_nvenc", images).objection


class Blind(OneByOne):
    """Finds nothing."""

    model = ModelInfo("blind", "0" * 64)

    def submit_one(self, canvas: ModelInput, *, min_score: float) -> Future[Detections]:
        answer: Future[Detections] = Future()
        answer.set_result(Detections.empty())
        return answer

    def close(self) -> None:
        pass


def test_a_result_is_whole_or_not_there_whatever_the_device_does(
    clips: dict[str, Path],
    on_device: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out.mkv"

    def mask() -> list[str]:
        options = VideoOptions(encoder="ffv1", hardware_decoding="cuda")
        finder = DetectedFaces(Blind(), Policy())
        return mask_video(
            clips["h264"], output, find_faces=finder, policy=Policy(), options=options
        ).devices

    on_device()
    assert mask() == ["decoded by cuda"]
    # What the CPU has finished is not the device's, and FFmpeg knows whose encoders are.
    on_device(fails_at=25)
    assert mask() == []
    assert [encoders.on_device(each) for each in ("h264_nvenc", "libx264")] == [True, False]
    assert [f[1:] for f in read(output, "off")] == [f[1:] for f in read(clips["h264"], "off")]
    output.unlink()
    monkeypatch.setattr(decoder._Kept, "suffices", lambda *_, **__: False)
    with pytest.raises(InputError, match="without leaving out a frame"):
        mask()
    assert not list(tmp_path.iterdir())
    # What decodes does not decide what comes out: a batch that goes on elsewhere goes on.
    how = [RunOptions(video=VideoOptions(hardware_decoding=each)) for each in ("off", "auto")]
    assert how[0].settings() == how[1].settings()


def test_an_encoder_of_the_gpu_is_taken_where_it_is_faster_and_works(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fast = record_of(cuda=Pace(frames_per_s=600, cpu_s=0.001))
    monkeypatch.setattr(choice, "candidates", lambda: ("cuda",))
    monkeypatch.setattr(choice, "measurement", lambda *_, **__: fast)
    with VideoSource(clips["h264"]) as source:
        properties = source.properties

    def chosen() -> str:
        container = container_for(Path("out.mp4"))
        return encoders.choose_encoder(container, properties, VideoOptions(encoder="auto")).name

    # It was measured on this GPU, and now does not open.
    assert chosen() == "libx264"
    assert "libx264: h264_nvenc cannot: " in warnings(caplog)[0]
    monkeypatch.setattr(choice, "ENCODERS", {"libx264": "mpeg4"})
    fast.encoders["mpeg4"] = fast.encoders["h264_nvenc"]
    assert chosen() == "mpeg4"
    fast.encoders["mpeg4"] = Pace(frames_per_s=30, cpu_s=0.001)
    assert chosen() == "libx264"


def test_doctor_says_what_decodes_and_encodes_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "candidates", lambda: ())
    decoding, encoding = doctor._video()
    assert decoding.text == "h264, hevc, vp9, av1 by the CPU (no device that decodes is here)"
    assert encoding.text == "libx264 (no NVIDIA GPU is here)"
    monkeypatch.setattr(choice, "candidates", lambda: ("cuda",))
    fast = record_of(cuda=Pace(frames_per_s=600, cpu_s=0.001))
    monkeypatch.setattr(choice, "measurement", lambda *_, **__: fast)
    device, cpu, encoding = doctor._video()
    assert (device.good, cpu.good, encoding.good) == (True, None, True)
    assert device.text.startswith("h264 by cuda (600 frames of 1080p a second at 1.0 ms")
    assert cpu.text.startswith("hevc, vp9, av1 by the CPU (not measured)")
    assert "h264_nvenc is here" in encoding.text
