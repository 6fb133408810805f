"""A changed file that wants devices measured, which takes long: nobody waits for that."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from fleet_doubles import Opened, refuses, until

from faceblur.detection.session import SessionOptions
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.service import Service
from faceblur.video.hardware import choice

SLOW = """
import json, os, pathlib, sys, time
json.load(sys.stdin)
folder = pathlib.Path(__file__).parent
(folder / "pid.new").write_text(str(os.getpid()))
(folder / "pid.new").rename(folder / "pid")
until = time.monotonic() + 600
while not (folder / "go").exists() and time.monotonic() < until:
    time.sleep(0.02)
print(json.dumps({"decoders": {}, "encoders": {}}))
"""
CAMERA = "{source: testpattern, sinks: ['null']}"
AUTO = "{source: testpattern, sinks: ['null'], hardware_decoding: auto, lookahead: %d}"


def test_all_goes_on_while_a_device_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_probe.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "PROBE", "slow_probe")
    monkeypatch.setattr(choice, "candidates", lambda: ("cuda",))
    choice.measurement.cache_clear()
    opened, file, pid = Opened(), tmp_path / "cameras.yaml", tmp_path / "pid"

    def write(**cameras: str) -> None:
        lines = [f"  {name}: {settings}" for name, settings in cameras.items()]
        file.write_text("\n".join(["listen:", "cameras:", *lines]))

    write(a=CAMERA)
    service = Service(
        file,
        guard=SecretFilter(),
        open_detector=lambda _: ReconnectingDetector(SessionOptions(), open_=refuses),
        open_camera=opened,
    )
    running = threading.Thread(target=service.run)
    running.start()
    try:
        until(lambda: len(opened.of("a")) == 1)
        write(a=CAMERA, b=AUTO % 1)
        service.reload()
        until(pid.exists)
        # Cameras are stopped and started meanwhile, …
        service.order("stop", "a")
        until(lambda: opened.of("a")[0].state == "stopped")
        service.order("start", "a")
        until(lambda: len(opened.of("a")) == 2)
        # … one that fails is started again, …
        opened.of("a")[1].failed = True
        until(lambda: len(opened.of("a")) == 3)
        # … mistakes are told, and what is taken in the end is what the file says by then.
        write(a=CAMERA, b=AUTO % 1, c="{}")
        service.reload()
        until(lambda: service.status().reloads_failed == 1)
        write(a=CAMERA, b=AUTO % 2)
        service.reload()
        until(lambda: service.status().loop_age_s < 0.5 and not service._reload.is_set())
        assert (service.status().reloads, opened.of("b")) == (0, [])
        (tmp_path / "go").touch()
        until(lambda: service.status().reloads == 1)
        assert [each.options.lookahead for each in opened.of("b")] == [2]
        # Nor does the end wait for a measurement, and nothing is left of it.
        for name in ("go", "pid"):
            (tmp_path / name).unlink()
        choice.measurement.cache_clear()
        record = choice._record_path(("cuda",))
        record.unlink()
        write(a=CAMERA, b=AUTO % 3)
        service.reload()
        until(pid.exists)
    finally:
        service.stop()
        running.join(60)
        choice.measurement.cache_clear()
    assert not running.is_alive()
    until(lambda: not service._measurer.is_busy)
    until(lambda: not Path("/proc", pid.read_text()).exists())
    assert not record.exists(), "it is not taken for a device that does not work"
