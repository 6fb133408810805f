"""`audio: keep`: what goes along with the masked frames, when, and what it must not do."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from flashing import FPS, flashing_clip
from running import PATIENCE_S, Run, Sightless, finish, until

from faceblur.detections import Detections
from faceblur.errors import ServerUnavailableError
from faceblur.live.audio import MAX_BYTES, MAX_PACKETS, AudioPacket, AudioQueue, get, put
from rig.ports import free_port
from rig.recorder import recorder

IN_SYNC_S = 0.12
"""A frame at 10 fps is this long on the screen."""


class Unsighted(Sightless):
    """Answers each question with an error."""

    def submit_one(
        self, model_input: npt.NDArray[np.uint8], *, min_score: float
    ) -> Future[Detections]:
        future: Future[Detections] = Future()
        future.set_exception(ServerUnavailableError("gone"))
        return future


def _packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def _flashes(path: Path) -> list[float]:
    """When the frame turns bright, seconds."""
    found, before = [], False
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            bright = bool(frame.to_ndarray(format="gray8").mean() > 150)
            if bright and not before:
                found.append(frame.time)
            before = bright
    return found


def _beeps(path: Path) -> list[float]:
    """When the audio sets in, seconds."""
    found, quiet_s = [], 1.0
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=8000, frame_size=80)
        for frame in container.decode(audio=0):
            for piece in resampler.resample(frame):
                loud = float(np.abs(piece.to_ndarray()).max()) > 0.2
                if loud and quiet_s > 0.3:
                    found.append(piece.time)
                quiet_s = 0.0 if loud else quiet_s + 0.01
    return found


def _assert_in_sync(path: Path) -> None:
    flashes, beeps = _flashes(path), _beeps(path)
    assert len(flashes) >= 3
    assert len(beeps) >= 3
    # The first or the last may lie beyond an end of the file.
    together = [min(abs(beep - flash) for beep in beeps) for flash in flashes[1:-1] or flashes]
    assert max(together) < IN_SYNC_S, (flashes, beeps)


def test_sound_goes_along_as_it_came_and_in_sync(run: Run, tmp_path: Path) -> None:
    clip = flashing_clip(tmp_path / "clip.mp4", "aac")
    urls = [f"{kind}://127.0.0.1:{free_port()}/live/door" for kind in ("rtsp", "rtmp")]
    received = [tmp_path / "rtsp.mkv", tmp_path / "rtmp.mkv"]
    with recorder(urls[0], received[0]) as first, recorder(urls[1], received[1]) as second:
        camera = run(
            f"file:{clip}?loop=yes",
            f"segments:{tmp_path / 'files'}?segment=600",
            f"hls:{tmp_path / 'hls'}?segment=2",
            *urls,
            audio="keep",
            lookahead=5,
            detector=Sightless(),
        )
        until(camera, lambda stats: min(sink.frames for sink in stats.sinks) > 5 * FPS)
        finish(camera)
        assert (first.wait(PATIENCE_S), second.wait(PATIENCE_S)) == (0, 0)
    (file,) = (tmp_path / "files").glob("*.mp4")
    came = set(_packets(clip))
    for path in (file, *received):
        kept = _packets(path)
        assert len(kept) > 150
        assert set(kept) <= came, "not one was encoded again"
    # A playlist that goes on never ends; its segments do.
    played = tmp_path / "played.ts"
    segments = sorted((tmp_path / "hls").glob("*.ts"), key=lambda path: path.stat().st_mtime)
    played.write_bytes(b"".join(path.read_bytes() for path in segments))
    for path in (file, played, *received):
        _assert_in_sync(path)


def test_sound_is_encoded_again_or_left_out_or_goes_on_alone(run: Run, tmp_path: Path) -> None:
    clip = flashing_clip(tmp_path / "clip.mov", "pcm_alaw", rate=8000)
    # In a loop: who comes late to one end has missed the beginning.
    cameras = [
        run(f"file:{clip}?loop=yes", f"segments:{tmp_path / name}?segment=600", name=name, **how)
        for name, how in {
            "encoded": {"audio": "keep", "detector": Sightless()},
            "alone": {"audio": "keep", "detector": Unsighted()},
            "dropped": {"detector": Sightless()},
        }.items()
    ]
    for camera in cameras:
        until(camera, lambda stats: stats.sinks[0].frames > 4 * FPS)
        finish(camera)
    encoded, alone, dropped = (
        next((tmp_path / camera.options.name).glob("*.mp4")) for camera in cameras
    )

    with av.open(str(encoded)) as container:
        assert container.streams.audio[0].codec_context.name == "aac", "a file holds no G.711"
    _assert_in_sync(encoded)

    assert cameras[1].stats().frames_checked == 0
    assert _flashes(alone) == [], "no frame of the camera is in it"
    assert len(_beeps(alone)) >= 3

    with av.open(str(dropped)) as container:
        assert not container.streams.audio


def test_packets_pass_through_memory_unchanged() -> None:
    packets = [AudioPacket(1.5, 0.02, b"abc"), AudioPacket(1.52, 0.0, b""), AudioPacket(2, 1, b"d")]
    memory = np.zeros(100, np.uint8)
    found = get(put(packets, memory), memory)
    assert [(p.time_s, p.duration_s, p.data) for p in found] == [
        (p.time_s, p.duration_s, p.data) for p in packets
    ]


@pytest.mark.parametrize("entries", [[[101, 0, 0]], [[-1, 0, 0]], [[60, 0, 0], [60, 0, 0]]])
def test_sound_outside_of_its_memory_is_refused(entries: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="outside"):
        get(entries, np.zeros(100, np.uint8))


def test_sound_that_nobody_takes_does_not_pile_up() -> None:
    queue = AudioQueue()
    queue.add(AudioPacket(number, 0.0, bytes(MAX_BYTES // 4)) for number in range(100))
    assert [packet.time_s for packet in queue.take()] == [96, 97, 98, 99]
    queue.add(AudioPacket(number, 0.0, b"x") for number in range(2 * MAX_PACKETS))
    assert [packet.time_s for packet in queue.until(MAX_PACKETS + 1)] == [500, 501, 502]
    assert len(queue.take()) == MAX_PACKETS - 3
