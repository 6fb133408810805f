"""A source of which a part is missing never passes for a whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from media import Recording, pattern, record

from faceblur.errors import InputError
from faceblur.video.frames import SourceFrame
from faceblur.video.source import VideoSource

FRAMES = 60
X264 = {"preset": "ultrafast", "g": "10", "qp": "10"}
KINDS = {
    "h264.ts": Recording(options=X264),
    "b-frames.ts": Recording(options={"preset": "medium", "g": "30", "bf": "3", "qp": "10"}),
    "mpeg2.ts": Recording(encoder="mpeg2video", options={"g": "10"}),
    "mpeg2.mpg": Recording(encoder="mpeg2video", options={"g": "10"}),
    "mpeg2.mxf": Recording(encoder="mpeg2video", options={"g": "10"}),
    "mpeg4.avi": Recording(encoder="mpeg4", options={"g": "10"}),
    "h264.avi": Recording(options=X264),
    "h264.flv": Recording(options=X264),
    "wmv2.wmv": Recording(encoder="wmv2", options={}),
}


@pytest.fixture(scope="module", params=KINDS)
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("good") / request.param
    record(path, pattern(FRAMES, width=192, height=128), KINDS[request.param])
    return path


def overwritten(data: bytes, packets: list[tuple[int, int]]) -> Iterator[bytes]:
    noise = np.random.default_rng(0)
    for start, size in (packets[20], packets[33]):
        for content in (bytes(size), noise.bytes(size)):
            yield data[:start] + content + data[start + size :]


def cut_out(data: bytes, packets: list[tuple[int, int]]) -> Iterator[bytes]:
    middle = len(data) // 2 // 188 * 188
    for missing in (20 * 188, 777):
        yield data[:middle] + data[middle + missing :]


def cut_off(data: bytes, packets: list[tuple[int, int]]) -> Iterator[bytes]:
    yield data[: int(0.7 * len(data))]


def noisy(data: bytes, packets: list[tuple[int, int]]) -> Iterator[bytes]:
    middle = len(data) // 2 // 188 * 188
    noise = np.random.default_rng(1).bytes(20 * 188)
    yield data[:middle] + noise + data[middle + len(noise) :]


@pytest.mark.parametrize("damage", [overwritten, cut_out, cut_off, noisy])
def test_fewer_frames_are_an_error_or_a_warning(
    good: Path,
    damage: Callable[[bytes, list[tuple[int, int]]], Iterator[bytes]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = good.read_bytes()
    for content in damage(data, packets_of(good, len(data))):
        path = tmp_path / good.name
        path.write_bytes(content)
        caplog.clear()
        try:
            count = frames_of(path)
        except InputError:
            continue
        assert count == FRAMES or f"{path} is damaged" in caplog.text


def test_a_sound_file_is_not_called_damaged(good: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert frames_of(good) == FRAMES
    assert "damaged" not in caplog.text


def test_what_is_missing_is_told_with_its_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gap.ts"
    times = [i for i in range(70) if i not in (30, 31)]
    record(path, pattern(len(times), width=96, height=64), Recording(times=times))
    with VideoSource(path) as source:
        start_s = float(source.start_s)
        list(source.read())
    assert "about 2 of its frames are missing" in caplog.text
    assert f"the first after {start_s + 29 / 25:.2f} s" in caplog.text


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pauses_of_a_variable_rate_are_no_damage(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"screen{suffix}"
    times = [*range(20), 40, *range(60, 80)]
    record(path, pattern(len(times), width=96, height=64), Recording(times=times))
    assert frames_of(path) == len(times)
    assert not caplog.records


def packets_of(path: Path, size: int) -> list[tuple[int, int]]:
    """Where the data of each frame starts (about, if nothing says it), and its size."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        return [
            (size * i // FRAMES if p.pos is None else p.pos, p.size) for i, p in enumerate(packets)
        ]


def frames_of(path: Path) -> int:
    with VideoSource(path) as source:
        return sum(isinstance(item, SourceFrame) for item in source.read())
