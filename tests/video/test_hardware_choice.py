"""Which device decodes and which encodes: what was measured to be faster, and works."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from doubles import OneByOne
from stand_in_device import StandIn, another_sample, read, warnings

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.outcome import RunOptions
from faceblur.batch.video import mask_video
from faceblur.cli import doctor
from faceblur.detection.detector import ModelInfo, ModelInput
from faceblur.detections import Detections
from faceblur.errors import InputError
from faceblur.gpus import Gpu
from faceblur.masks.policy import Policy
from faceblur.video import encoders
from faceblur.video.containers import container_for
from faceblur.video.hardware import choice, decoder, devices, probe
from faceblur.video.hardware.choice import Chosen
from faceblur.video.hardware.probe import Measurement, Pace, Question
from faceblur.video.options import VideoOptions
from faceblur.video.source import VideoSource


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
    assert measured(spoils=another_sample).objection == "its frames differ from the CPU's"
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
