"""WebRTC by WHIP, to a receiver that is not our own code's other half but aiortc's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import waiting
from flashing import FPS, flashing_clip
from running import PATIENCE_S, PATTERN, SIZE, Run, Sightless, shown, until

from rig.judge import Judge
from rig.ports import free_port
from rig.viewer import Viewer
from rig.whip_server import whip_server

pytest.importorskip("aiortc", reason='needs aiortc: pip install -e ".[whip]"')

TOKEN = "s3cret"


def test_webrtc_reaches_a_receiver_masked_and_none_without_its_token(
    run: Run, tmp_path: Path
) -> None:
    port, watching = free_port(), Viewer(tmp_path / "seen", SIZE)
    with whip_server(port, tmp_path / "seen", token=TOKEN):
        camera = run(
            PATTERN, *(f"whip:http://:{token}@127.0.0.1:{port}/whip" for token in (TOKEN, "wr0ng"))
        )
        stats = until(camera, lambda stats: shown(20)(stats) and stats.sinks[1].state == "waiting")
        assert watching.wait_for(10, timeout_s=PATIENCE_S), camera.stats()
        camera.stop()
        judge = Judge(SIZE[1])
        verdicts = [judge(seen.image) for seen in watching.seen()]
    assert not any(verdict.face or verdict.placeholder for verdict in verdicts)
    refused = stats.sinks[1]
    assert refused.frames == 0
    assert "401" in refused.last_error or "nauthorized" in refused.last_error
    assert "wr0ng" not in repr(stats)


def test_sound_goes_along_as_opus(run: Run, tmp_path: Path) -> None:
    clip = flashing_clip(tmp_path / "clip.mp4", "aac")
    port, watching = free_port(), Viewer(tmp_path / "seen", SIZE)
    with whip_server(port, tmp_path / "seen", token=TOKEN):
        camera = run(
            f"file:{clip}?loop=yes",
            f"whip:http://:{TOKEN}@127.0.0.1:{port}/whip",
            audio="keep",
            detector=Sightless(),
        )
        assert watching.wait_for(2 * FPS, timeout_s=PATIENCE_S), camera.stats()
        sound = tmp_path / "seen.sound"
        waiting.until(lambda: sound.exists() and len(_loud(sound)) > 100, "packets of 20 ms")
        waiting.until(lambda: bool(np.mean(_loud(sound)) > 0.02), "now and then a beep")
        camera.stop()
    assert np.mean(_loud(sound)) < 0.4, "and in between there is none"


def _loud(sound: Path) -> npt.NDArray[np.bool_]:
    """Which packets were heard so far; the newest may be half written."""
    count = sound.stat().st_size // np.dtype(float).itemsize
    return np.asarray(np.fromfile(sound, count=count) > 0.2)
