"""Encoders do not take the machine from everything else."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import av
import pytest
from media import Recording, pattern, record

from faceblur.live import parse_sink
from faceblur.live.frame_format import FrameFormat
from faceblur.live.sinks.encoder import Encoder
from faceblur.video import opening
from faceblur.video.encoders import objection
from faceblur.video.frames import SourceFrame
from faceblur.video.hardware.probe import Question, sample_images, sample_video
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource

GREEDY = "libsvtav1"


def policies() -> set[int]:
    """How the threads of this process are scheduled."""
    found = set()
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            found.add(os.sched_getscheduler(int(thread.name)))
    return found


@pytest.fixture
def usual() -> Iterator[int]:
    """The policy of this thread, which all have again afterwards."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield policy
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setscheduler(int(thread.name), policy, parameters)


def may_take_the_machine() -> bool:
    """Whether this user gets real-time priority."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    os.sched_setscheduler(0, policy, parameters)
    return True


def tried(_: Path) -> set[int]:
    assert objection(GREEDY, (64, 64), "yuv420p") == ""
    return policies()


def measured(_: Path) -> set[int]:
    sample_video("av1", list(sample_images(Question(devices=(), size=(64, 64), frames=2))))
    return policies()


def in_a_file(folder: Path) -> set[int]:
    clip = folder / "clip.mkv"
    record(clip, pattern(2), Recording(encoder="ffv1", options={}))
    options = VideoOptions(encoder=GREEDY)
    with VideoSource(clip) as source, VideoSink(folder / "out.mkv", source, options) as sink:
        for item in source.read():
            if isinstance(item, SourceFrame):
                sink.write(item)
        return policies()


def of_a_camera(_: Path) -> set[int]:
    options = replace(parse_sink("null"), encoder=GREEDY)
    with av.open(io.BytesIO(), "w", format="matroska") as container:
        encoder = Encoder(container, FrameFormat(width=64, height=64), options)
        encoder.write(av.VideoFrame(64, 64, "yuv420p"), 0.0)
        found = policies()
        encoder.flush()
    return found


@pytest.mark.parametrize("opened", [tried, measured, in_a_file, of_a_camera])
def test_no_encoder_makes_the_program_a_real_time_one(
    opened: Callable[[Path], set[int]],
    usual: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert opened(tmp_path) == {usual}
    # What would be, where it may, if nobody saw to it.
    monkeypatch.setattr(opening, "kept_priority", nullcontext)
    assert (os.SCHED_FIFO in opened(tmp_path)) == may_take_the_machine()
