"""Who owns a camera by its lease: real processes and services, and none that has lost it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from fleet_doubles import FakeCamera
from lease_api import LeaseApi, store_of
from rendered_chart import of_kind, render
from running import LIMIT_S, PATIENCE_S, Run, shown, until

from faceblur.detection.session import DetectionSession, SessionOptions
from faceblur.errors import InputError
from faceblur.live.detector import ReconnectingDetector
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import placeholder
from faceblur.live.options import CameraOptions
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.metrics import exporter
from faceblur.live.service.service import Service
from faceblur.live.sharding.keeper import LeaseKeeper
from faceblur.live.sharding.permit import Permit, now_s
from faceblur.live.sharding.shard import Shard
from faceblur.live.sinks.options import parse_sink
from faceblur.live.sinks.sink import Sink

CAMERAS = ["door", "yard", "hall", "gate", "roof"]


def wait(reached: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> None:
    """Wait until something is so."""
    started = time.monotonic()
    while not reached():
        assert time.monotonic() - started < timeout_s
        time.sleep(0.01)


class Owners:
    """Processes that share cameras, and what they wrote down."""

    def __init__(self, api: LeaseApi, folder: Path, *, lease_s: float) -> None:
        self._api, self._record, self._lease_s = api, folder / "record", lease_s
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, member: str) -> None:
        account = str(self._api.server.account)
        words = [str(self._api.server.port), account, member, str(self._lease_s)]
        self.processes[member] = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("owner_process.py"), *words,
             str(self._record), *CAMERAS]
        )  # fmt: skip

    def tell(self, member: str, number: int) -> float:
        os.kill(self.processes[member].pid, number)
        return now_s()

    def lines(self) -> list[tuple[float, str, str, str]]:
        """When, which camera, by whom, and in which of its turns."""
        text = self._record.read_text() if self._record.exists() else ""
        whole = text[: text.rfind("\n") + 1].splitlines()
        split = [line.split() for line in whole]
        return sorted((float(at), name, member, turn) for at, name, member, turn in split)

    def running(self, since_s: float) -> dict[str, str]:
        """Who ran each camera last, as far as it ran after that moment."""
        return {name: member for at, name, member, _ in self.lines() if at > since_s}

    def overlaps(self) -> list[str]:
        """Cameras that one began to run before another had ended."""
        turns: dict[tuple[str, str, str], list[float]] = {}
        for at, *turn in self.lines():
            turns.setdefault((turn[0], turn[1], turn[2]), []).append(at)
        return [
            f"{a[0]} in {a[1:]} and {b[1:]}"
            for a, b in combinations(turns, 2)
            if a[0] == b[0] and turns[a][0] <= turns[b][-1] and turns[b][0] <= turns[a][-1]
        ]

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def _all_run(owners: Owners, since_s: float) -> bool:
    return len(owners.running(max(since_s, now_s() - 0.5))) == len(CAMERAS)


def _busiest(owners: Owners) -> str:
    members = list(owners.running(0).values())
    return max(members, key=members.count)


def test_processes_that_hang_and_go_never_overlap(api: LeaseApi, tmp_path: Path) -> None:
    owners = Owners(api, tmp_path, lease_s=1.0)
    try:
        for member in ("a", "b", "c"):
            owners.start(member)
        wait(lambda: _all_run(owners, 0) and len(set(owners.running(0).values())) > 1)
        busy = _busiest(owners)
        stopped_s = owners.tell(busy, signal.SIGSTOP)
        # How soon, test_shard says to the second.
        wait(lambda: _all_run(owners, stopped_s + 0.1))
        continued_s = owners.tell(busy, signal.SIGCONT)
        wait(lambda: busy in owners.running(continued_s).values())
        others = [member for member in "abc" if member != busy]
        killed_s = owners.tell(others[0], signal.SIGKILL)
        wait(lambda: _all_run(owners, killed_s + 0.1))
        left_s = owners.tell(others[1], signal.SIGTERM)
        wait(lambda: _all_run(owners, left_s + 0.1))
        assert owners.overlaps() == []
        wait(lambda: set(api.holders("camera").values()) == {busy})
        (role,) = of_kind(render(), "Role")["rules"]
        assert api.verbs <= set(role["verbs"])
    finally:
        owners.close()


@pytest.mark.parametrize(
    ("second", "is_overlap"),
    [("2.5 door b 1", False), ("1.5 door b 1", True), ("1.5 yard b 1", False)],
)
def test_an_overlap_would_be_noticed(
    second: str, is_overlap: bool, api: LeaseApi, tmp_path: Path
) -> None:
    owners = Owners(api, tmp_path, lease_s=1.0)
    lines = ["1.0 door a 1", "2.0 door a 1", second, "2.9 door a 2", "3.0 do"]
    (tmp_path / "record").write_text("\n".join(lines))
    assert bool(owners.overlaps()) is is_overlap


class PermittedCamera(FakeCamera):
    """Runs as long as it may."""

    def __init__(self, options: CameraOptions, detector: object, *, permit: Permit) -> None:
        super().__init__(options, detector)
        self.permit = permit
        permit.enter()

    def stop(self, *, timeout_s: float = 5.0) -> None:
        if self.state != "stopped":
            self.permit.leave()
        super().stop(timeout_s=timeout_s)


def _refuses(_: SessionOptions) -> DetectionSession:
    raise OSError("no detector here")


def _service(api: LeaseApi, member: str, file: Path) -> Service:
    keeper = LeaseKeeper(Shard(store_of(api), member=member, lease_s=0.6))
    return Service(
        file,
        guard=SecretFilter(),
        open_detector=lambda _: ReconnectingDetector(SessionOptions(), open_=_refuses),
        open_camera=PermittedCamera,
        leases=keeper,
    )


def test_services_share_the_cameras_of_a_file(api: LeaseApi, tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    lines = [f"  {name}: {{source: testpattern, sinks: ['null']}}" for name in CAMERAS]
    file.write_text("\n".join(["listen:", "cameras:", *lines]))
    services = [_service(api, member, file) for member in ("a", "b")]
    threads = [threading.Thread(target=service.run) for service in services]

    def names(number: int) -> set[str]:
        return {camera.name for camera in services[number].status().cameras}

    try:
        assert (
            services[0].status().unready()[-1] == "leases: the store of leases was not reached yet"
        )
        for thread in threads:
            thread.start()
        # Where the machine is held up for longer than a lease lasts, they are shared anew.
        shares: list[set[str]] = []

        def is_shared() -> bool:
            shares[:] = names(0), names(1)
            return shares[0] | shares[1] == set(CAMERAS) and shares[0].isdisjoint(shares[1])

        wait(lambda: is_shared() and all(shares))
        wait(lambda: all(camera.state == "running" for camera in services[0].status().cameras))
        wait(lambda: "faceblur_leases_up 1.0" in exporter(services[0].status)().decode())
        # A camera that is no longer in the file is given back.
        gone = min(shares[1])
        file.write_text(re.sub(f"  {gone}: .*\n?", "", file.read_text()))
        for service in services:
            service.reload()
        wait(lambda: names(0) | names(1) == set(CAMERAS) - {gone})
        wait(lambda: api.holders("camera")[gone] == "")
        # An operator stops one, and finds it stopped when its lease was lost and taken again.
        stopped = min(shares[0])

        def state() -> str:
            cameras = services[0].status().cameras
            return next((c.state for c in cameras if c.name == stopped), "elsewhere")

        def is_stopped() -> bool:
            with contextlib.suppress(InputError):
                services[0].order("stop", stopped)
            return state() == "stopped"

        wait(is_stopped)
        # Where the API is away, cameras stop before others could take them; then they run again.
        api.fail_with = 500
        wait(lambda: not names(0) and not names(1))
        wait(lambda: "refused with 500" in str(services[1].status().unready()))
        assert "faceblur_leases_up 0.0" in exporter(services[1].status)().decode()
        api.fail_with = 0
        wait(lambda: names(0) | names(1) == set(CAMERAS) - {gone})
        wait(lambda: state() == "stopped")
        services[0].stop()
        threads[0].join(PATIENCE_S)
        wait(lambda: names(1) == set(CAMERAS) - {gone})
    finally:
        for service, thread in zip(services, threads, strict=True):
            service.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    wait(lambda: set(api.holders("camera").values()) == {""})
    wait(lambda: set(api.holders("member").values()) == {""})


def test_a_camera_without_a_permit_shows_nothing(run: Run) -> None:
    permit = Permit(now_s() + 600)
    camera = run(permit=permit)
    until(camera, shown(3))
    assert not permit.is_idle
    permit.revoke()
    # Before anything that it waits for would be over.
    assert camera.wait(LIMIT_S - 5), "it ends by itself, at once"
    assert permit.is_idle
    stats = camera.stats()
    assert stats.state == "stopped"
    written = stats.sinks[0].frames
    late = run(permit=permit)
    assert late.wait(LIMIT_S - 5)
    assert late.stats().frames_out == 0
    assert camera.stats().sinks[0].frames == written


@pytest.mark.parametrize(("left_s", "is_written"), [(600.0, True), (-0.001, False)])
def test_what_a_sinks_process_has_taken_is_not_written_late(
    left_s: float, is_written: bool
) -> None:
    sink = Sink(parse_sink("null"), name="door")
    frame = placeholder(FrameFormat(64, 64), "x", time_s=0.0)
    try:
        sink.poll(time.monotonic())
        sink.offer(frame, time.monotonic(), until_s=now_s() + left_s)

        def is_over() -> bool:
            sink.poll(time.monotonic())
            return bool(sink.stats().frames + sink.stats().dropped)

        wait(is_over)
        assert (sink.stats().frames, sink.stats().dropped) == (is_written, not is_written)
    finally:
        sink.close()
