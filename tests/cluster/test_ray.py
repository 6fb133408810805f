"""Two nodes of Ray on this machine: what one machine makes, whatever ends in the middle."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from media import moving_face_video, record
from ray_nodes import (
    SECRET,
    child_of,
    files_in,
    meanwhile,
    notes,
    outputs,
    raylet_of,
    tells,
    writing,
)
from waiting import until

from faceblur.batch.jobs import AnyJob, plan
from faceblur.batch.outcome import RunOptions
from faceblur.batch.video import Progress
from faceblur.cli import main
from faceblur.cluster import pool
from faceblur.cluster.connection import connected
from faceblur.cluster.options import ClusterOptions
from faceblur.cluster.run import Standing, run
from faceblur.cluster.worker import FileResult, Worker, WorkerSetup
from faceblur.detection.options import DetectionOptions
from faceblur.detection.session import SessionOptions
from faceblur.errors import OutputError
from faceblur.masks.policy import Policy
from faceblur.proof.audit.chains import read
from rig.ports import free_port

ONE_FILE = ClusterOptions(address="ray", files_per_worker=1)
ALONE = SessionOptions(in_process=True, model="fast")
"""A server that several share computes frames of all at once, and may round otherwise."""

BLUR = [
    sys.executable,
    "-m",
    "faceblur",
    "blur",
    "--size",
    "320",
    "--in-process",
    "--model",
    "fast",
]
"""The same for a command."""

OPTIONS = RunOptions(policy=Policy(detection=DetectionOptions(size=320)), names_tracks=False)
QUICK = {
    # Of the loss of a machine; the defaults are made for networks.
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 6,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with one CPU each, and Ray's port for clients as `client_port`."""
    pytest.importorskip("ray")
    port = free_port()
    # Sockets have short names; Ray is to write nowhere else.
    folder = tempfile.mkdtemp(prefix="fb-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        # Else Ray's own server for clients sometimes forks in the middle of a call, and loses 40 s.
        patch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("FACEBLUR_AUDIT_KEY", SECRET)
        from ray.cluster_utils import Cluster

        node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 10**8}
        head = {**node, "ray_client_server_port": port, "_system_config": QUICK}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.client_port = port
        cluster.second = cluster.add_node(num_cpus=1, object_store_memory=10**8)
        patch.setenv("RAY_ADDRESS", cluster.address)
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        yield cluster
        cluster.shutdown()
    written = files_in(Path(folder))
    assert any("gcs_server" in path.name for path in written)
    told = [path for path in written if tells(path)]
    shutil.rmtree(folder, ignore_errors=True)
    assert told == [], "a secret is in Ray's files"


@pytest.fixture(scope="module")
def ray(cluster: Any) -> Iterator[Any]:
    """The module, connected."""
    before = signal.getsignal(signal.SIGTERM)
    with connected(ONE_FILE) as ray:
        assert signal.getsignal(signal.SIGTERM) == before
        yield ray


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, portrait: npt.NDArray[np.uint8]) -> Path:
    """Two videos of a second or two, four photos, and what is no photo."""
    folder = tmp_path_factory.mktemp("archive") / "in"
    (folder / "sub").mkdir(parents=True)
    small = cv2.resize(portrait, (160, 160), interpolation=cv2.INTER_AREA)
    for number, name in enumerate(("a.jpg", "b.png", "sub/c.jpg", "sub/d.png")):
        cv2.imwrite(str(folder / name), np.roll(small, 9 * number, axis=1))
    for number in range(2):
        path = folder / f"clip{number}.mp4"
        moving_face_video(path, frames=50 + number, width=320, height=180)
    (folder / "bad.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def made_here(tree: Path) -> dict[str, str]:
    """What one machine makes of it."""
    here = tree.parent / "here"
    done = subprocess.run(
        [*BLUR, tree.name, "-o", str(here), "--json", "here.json"],
        cwd=tree.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("bad.jpg")) == (1, 1), done.stderr
    return outputs(here)


Masked = Callable[..., dict[str, FileResult]]


@pytest.fixture
def mask(ray: Any, tree: Path, tmp_path: Path) -> Masked:
    """Mask the tree, or those of it that are named, into tmp_path/out."""

    def masked(
        *names: str, on_standing: Callable[[Standing], None] = lambda _: None, **setup: Any
    ) -> dict[str, FileResult]:
        jobs = plan([str(tree)], tmp_path / "out")
        jobs = [job for job in jobs if not names or job.source_name in names]
        given = WorkerSetup(
            options=OPTIONS,
            session=ALONE,
            size=320,
            media="image",
            level=logging.INFO,
        )
        results = run(ray, jobs, replace(given, **setup), ONE_FILE, on_standing=on_standing)
        return {job.source_name: result for job, result in results}

    return masked


def test_results_are_those_of_one_machine_and_are_found_again(
    mask: Masked,
    tree: Path,
    made_here: dict[str, str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    standings: list[Standing] = []
    named = replace(OPTIONS, names_tracks=True)
    with caplog.at_level(logging.INFO, logger="faceblur"):
        results = mask(on_standing=standings.append, options=named, reports=True)
    assert outputs(tmp_path / "out") == made_here
    # The largest come first; what fails in the same way everywhere was tried on both machines.
    assert {next(iter(results)), [*results][1]} & {"clip0.mp4", "clip1.mp4"}
    bad = results.pop("bad.jpg").failure
    assert bad is not None
    assert "bad.jpg" in bad.reason
    assert sum("bad.jpg" in line for line in caplog.messages if line.startswith("try ")) == 1
    assert all(result.failure is None and not result.skipped for result in results.values())
    for entry in json.loads((tree.parent / "here.json").read_text())["media"]:
        report = results[entry["path"].removeprefix("in/")].report
        assert report is not None
        told = {**report.to_json(), "path": entry["path"], "sha256": report.sha256}
        assert json.loads(json.dumps(told)) == entry
    assert (standings[-1].files, standings[-1].workers) == (7, 2)


def test_what_a_list_says_is_masked_as_on_one_machine_and_listed_again(
    ray: Any,
    tree: Path,
    made_here: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Workers are in another folder than whoever gives the names.
    monkeypatch.chdir(tree.parent)
    monkeypatch.setattr("faceblur.cli.spreading.connected", lambda _: nullcontext(ray))

    def blur(*options: str) -> Result:
        line = ["blur", *options, "--workers", "1", "--quiet"]
        return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)

    # Somebody looks at a list: one track is to be seen, and something else is to be masked.
    found, listed = json.loads((tree.parent / "here.json").read_text()), tmp_path / "found.json"
    (clip,) = [entry for entry in found["media"] if entry["path"] == "in/clip0.mp4"]
    clip["corrections"] = [{"keyframes": [{"at": 0.2, "box": [9, 9, 60, 50], "follow": True}]}]
    # It is found by its name, then.
    del clip["sha256"]
    listed.write_text(json.dumps(found))
    track = str(clip["tracks"][0]["id"])
    made = {}
    for name in ("one", "ray"):
        result, json_file = tmp_path / f"{name}.mp4", tmp_path / f"{name}.json"
        line = [clip["path"], "--boxes", str(listed), "--keep-visible", track, "-o", str(result)]
        done = blur(*line, "--json", str(json_file), *(["--on", name] if name == "ray" else []))
        assert (done.exit_code, done.stderr) == (0, "")
        made[name] = result.read_bytes(), json_file.read_text()
    assert made["one"] == made["ray"]
    assert '"path": "in/clip0.mp4"' in made["ray"][1]
    assert hashlib.sha256(made["one"][0]).hexdigest() != made_here["clip0.mp4"]


def test_a_worker_and_a_node_that_are_killed_in_the_middle_cost_nothing_but_time(
    cluster: Any,
    mask: Masked,
    made_here: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hold = tmp_path / "hold"
    hold.touch()

    class Held(Worker):
        """A worker that gets no further than into the middle of a video meanwhile."""

        def _tell(self, job: AnyJob, progress: Progress) -> None:
            super()._tell(job, progress)
            end_s = time.monotonic() + 240
            while progress.done >= 20 and hold.exists() and time.monotonic() < end_s:
                time.sleep(0.01)

    monkeypatch.setattr(pool, "Worker", Held)
    names = ("clip0.mp4", "clip1.mp4", "a.jpg")
    expected = {name: made_here[name] for name in names}
    out = tmp_path / "out"
    raylet = raylet_of(cluster.head_node)

    def end(pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        cluster.remove_node(cluster.second)
        hold.unlink()

    with caplog.at_level(logging.INFO, logger="faceblur"), meanwhile(end, out, raylet):
        results = mask(*names)
    assert all(result.failure is None for result in results.values())
    assert any("ended while it was masked" in line for line in caplog.messages)
    assert outputs(out) == expected


def test_a_driver_and_a_head_that_are_killed_lose_nothing_and_the_next_goes_on(
    cluster: Any, ray: Any, tree: Path, made_here: dict[str, str], tmp_path: Path
) -> None:
    out, given, history = tmp_path / "out", tmp_path / "in", tmp_path / "record"
    line = [*BLUR, str(given), "-o", str(out), "--workers", "1", "--audit", str(history), "--on"]
    shutil.copytree(tree, given)
    # After the clips, and before the photos: nobody gets to its end before somebody is killed.
    long = given / "long.mp4"
    noise = np.random.default_rng(7).integers(0, 256, (64, 64, 3), np.uint8)
    record(long, [noise] * 3000)
    clip, photo = given / "clip0.mp4", given / "b.png"
    assert photo.stat().st_size < long.stat().st_size < clip.stat().st_size

    def begin(reached: Callable[[], object], **environment: str) -> subprocess.Popen[str]:
        """Start it, and wait until it has got so far."""
        driver = subprocess.Popen(
            [*line, "ray"], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )

        def has_got_there() -> bool:
            assert driver.poll() is None, driver.communicate()
            return bool(reached())

        until(has_got_there, "the command has got so far", within_s=240)
        return driver

    # A cluster of its own, whose head ends; it leaves no secret and no unmasked file.
    with tempfile.TemporaryDirectory(prefix="fb-", dir="/tmp", ignore_cleanup_errors=True) as place:
        quick = {"RAY_gcs_rpc_server_reconnect_timeout_s": "1", "TMPDIR": place}
        driver = begin(lambda: notes(out), RAY_ADDRESS="", **quick)
        for process in ("raylet", "gcs_server"):
            os.kill(child_of(driver.pid, process), signal.SIGKILL)
        driver.communicate(timeout=240)
        assert driver.returncode != 0
        assert not any(map(tells, files_in(Path(place))))
    # Another driver, on the cluster of two nodes, that is killed itself.
    clips = [out / f"clip{number}.mp4" for number in range(2)]
    # One of the nodes may be gone by now.
    raylets = [raylet_of(node) for node in cluster.list_all_nodes()]

    def is_in_the_long_one() -> bool:
        writers = (pid for raylet in raylets for pid in writing(out, raylet, "long"))
        return any(writers) and all(map(Path.exists, clips))

    driver = begin(is_in_the_long_one)
    driver.kill()
    driver.communicate()
    finished = len(notes(out))
    assert finished >= 2
    assert not (out / "long.mp4").exists()
    long.unlink()
    # The last ones come at once, through the port for clients, and find no mark of the folder.
    (mark,) = (out / ".faceblur").glob("place-*")
    mark.unlink()
    address = f"ray://127.0.0.1:{cluster.client_port}"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen([*line, address], **pipes) for _ in range(2)]
    said = [driver.communicate() for driver in both]
    codes = [driver.returncode for driver in both]
    # One that comes late finds all finished.
    assert set(codes) in ({1}, {1, OutputError.exit_code}), said
    for code, (stdout, stderr) in zip(codes, said, strict=True):
        if code == 1:
            assert (stderr.count("bad.jpg"), stderr.count("\n")) == (1, 1), stderr
            skipped = re.search(r"; (\d+) files? skipped; 1 file failed", stdout)
            assert skipped is not None, stdout
            assert int(skipped[1]) >= finished
        else:
            assert stderr.startswith(f"faceblur: another faceblur writes to {out}: "), stderr
            assert (stderr.count("\n"), stdout) == (1, "")
    assert len(notes(out)) == len(made_here), "a file was masked twice"
    assert outputs(out) == made_here
    audit = read(history, key=SECRET.encode())
    assert {entry.manifest.output.name for entry in audit.entries} == made_here.keys()
    assert any(f"root {audit.head}" in stdout for stdout, _ in said)
