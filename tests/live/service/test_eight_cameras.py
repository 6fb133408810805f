"""Eight cameras in one `faceblur run`: every one goes on, and no viewer of any sees a face."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import av
import pytest
from running import SIZE, received

from rig.clips import PORTRAIT
from rig.judge import FLAT, Judge, Verdict
from rig.rtsp import rtsp_server

CAMERAS = [f"cam{number}" for number in range(8)]
FPS = 2
WANTED = 4
"""Frames of each that somebody has to receive."""

PATIENCE_S = 240.0
"""Until they are all there, eight cameras being many for a machine that is busy."""


def _config(path: Path, server: str, publish: str) -> Path:
    pattern = f"testpattern:?size={SIZE[0]}x{SIZE[1]}&fps={FPS}&face={PORTRAIT}"
    cameras = "".join(f"  {name}: {{source: '{pattern}'}}\n" for name in CAMERAS)
    # So many processes take long to start on a machine that is busy.
    limits = "open_timeout_s: 100, {}_timeout_s: 30"
    path.write_text(
        f"listen:\nserver: {{address: '{server}', deadline_s: 10}}\n"
        f"defaults:\n  size: 320\n  deadline_s: 10\n  source: {{{limits.format('stall')}}}\n"
        f"  sinks: [{{to: '{publish}${{camera}}', {limits.format('write')}}}]\n"
        f"cameras:\n{cameras}"
    )
    return path


def _verdicts(folder: Path) -> list[Verdict]:
    """What a viewer of a camera received."""
    judge = Judge(SIZE[1])
    return [judge(frame.reformat(*SIZE, "bgr24").to_ndarray()) for frame in received(folder)]


@pytest.mark.usefixtures("rtsp")
def test_eight_cameras_run_side_by_side(bundled_server: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in CAMERAS}
    for folder in folders.values():
        folder.mkdir()
    mounts = [f"record:{name}:{folder}" for name, folder in folders.items()]
    log = tmp_path / "log"
    with rtsp_server(mounts) as server, log.open("wb") as output:
        config = _config(tmp_path / "cameras.yaml", bundled_server, server.url(""))
        service = subprocess.Popen(
            [sys.executable, "-m", "faceblur", "run", str(config)],
            env=dict(os.environ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline_s = time.monotonic() + PATIENCE_S
            missing = list(folders.values())
            while missing := [folder for folder in missing if _images(folder) < WANTED]:
                assert service.poll() is None, log.read_text()
                assert time.monotonic() < deadline_s, log.read_text()
                time.sleep(0.5)
            service.send_signal(signal.SIGTERM)
            assert service.wait(PATIENCE_S) == 0
        finally:
            service.kill()
            service.wait()
    for name, folder in folders.items():
        verdicts = _verdicts(folder)
        images = [verdict for verdict in verdicts if not verdict.placeholder]
        assert len(images) >= WANTED, name
        assert not any(verdict.face for verdict in verdicts), name


def _images(folder: Path) -> int:
    """How many frames that are no notices somebody has received by now."""
    count = 0
    for file in folder.iterdir():
        with suppress(av.error.FFmpegError, IndexError), av.open(str(file)) as container:
            for frame in container.decode(video=0):
                count += float(frame.to_ndarray(format="gray8").std()) >= FLAT
    return count
