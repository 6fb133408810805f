"""A log that names each trouble once in a while, and limits of the system that are said."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import waiting
from running import PATIENCE_S, Run, Sightless, shown, until

from faceblur.detection.repeats import Repeats, kind_of
from faceblur.live import parse_sink, parse_source
from faceblur.live.sinks.sink import Sink
from faceblur.live.sources.source import Source
from faceblur.live.sources.worker import SourceJob


def test_texts_that_differ_by_names_made_of_chance_are_of_one_kind() -> None:
    texts = [
        f"cannot open region 'faceblur_{name}' at 127.0.0.1:{port}: no such file"
        for name, port in (("3fa9c0d1", 8001), ("deadbeef", 40123), ("0a", 1))
    ]
    assert len(set(map(kind_of, texts))) == 1
    assert kind_of("the server is away") != kind_of("the image is damaged")


def test_each_kind_is_said_once_a_minute_also_when_they_take_turns() -> None:
    repeats = Repeats(60.0)
    said = [
        (second, kind)
        for second in range(130)
        for kind in ("region", "server")
        if repeats.is_new(f"{kind} x{second} is away", float(second))
    ]
    assert said == [(s, kind) for s in (0, 60, 120) for kind in ("region", "server")]
    for number in range(1000):
        repeats.is_new("kind " + "abcdefghij"[number % 10] * (number // 10 + 1), 200.0)
    assert len(repeats._said) <= 32


def test_a_camera_whose_trouble_has_another_name_each_time_does_not_fill_the_log(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="faceblur")
    camera = run(name="flaps", detector=Sightless())
    until(camera, shown(1))
    camera.stop()
    for number in range(20):
        camera._status.error = f"cannot open region faceblur_{number:x}c0ffee"
        camera._status.enter("degraded")
        camera._status.enter("running")
    assert sum("is degraded" in text for text in caplog.messages) == 1


def test_a_source_and_a_sink_that_fail_with_changing_names_are_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = SourceJob(
        source=parse_source("testpattern"), hardware="off", fps=None, size=320, stride=32,
        tiles="off", detect_every=1,
    )  # fmt: skip
    source, sink = Source(job, name="door", slots=1), Sink(parse_sink("null"), name="door")
    for number in range(20):
        source.online = True
        source._fail(f"its image is {number} s old", 0.0)
        source._handle({"kind": "warning", "text": f"odd packet {number}"}, 0.0)
        sink._fail(f"region faceblur_{number} is away", 0.0)
        sink._handle({"kind": "warning", "text": f"odd packet {number}"}, 0.0)
    assert sum(text.startswith("camera door: ") for text in caplog.messages) == 4


@pytest.mark.parametrize("command", ["camera", "run"])
def test_too_few_open_files_are_said_in_a_sentence(command: str, tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: {door: {source: testpattern, sinks: ['null']}}\n")
    arguments = (
        ["run", str(file)] if command == "run" else ["camera", "testpattern", "--to", "null"]
    )
    limited = ["sh", "-c", 'ulimit -n 32; exec "$@"', "sh", sys.executable, "-m", "faceblur"]
    done = subprocess.run(
        [*limited, *arguments], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "1 camera needs about 40 open files, and only 32 are allowed here: raise it" in line


def test_files_that_run_out_later_are_a_failure_like_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    job = SourceJob(
        source=parse_source("testpattern"), hardware="off", fps=None, size=320, stride=32,
        tiles="off", detect_every=1,
    )  # fmt: skip
    source, sink = Source(job, name="door", slots=1), Sink(parse_sink("null"), name="door")
    before = _open_files()
    # Numbers that are taken already do not change; no new one is given.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert list(source.poll(0.0)) == []
        sink.poll(0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for part in (source, sink):
        assert part.link is None
        assert "too many files are open: raise the limit" in caplog.text
    assert sink.stats().state == "waiting"
    waiting.until(lambda: not _open_files() - before, "files of other threads are closed again")


def _open_files() -> Counter[str]:
    """What is open in this process: sockets by their numbers, other files by their names."""
    found = Counter[str]()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[str(path.readlink())] += 1
    return found
