"""What can be written, and what is said of what cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from copies import copy, grey
from media import Recording, pattern, record
from probing import assert_same_times, decoded, timeline

from faceblur.errors import InputError
from faceblur.video.containers import CONTAINERS
from faceblur.video.options import VideoOptions


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_kind_of_file_can_be_written(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "source.mp4", tmp_path / f"out{suffix}"
    sound = {".mxf": []}.get(suffix, ["eng"])
    record(source, pattern(10, width=128, height=96), Recording(sounds=sound))
    copy(source, output)
    kinds = [(track.kind, len(track.times_s) > 0) for track in timeline(output)]
    assert kinds[0] == ("video", True)
    assert kinds[1:] == [("audio", True)] * len(sound)
    assert len(decoded(output)) == 10
    assert np.abs(grey(output) - grey(source)).mean() < 6


@pytest.mark.parametrize("name", ["100%d.mp4", "a:b [c] é.mp4", "-i.mp4"])
def test_names_of_any_kind_will_do(made: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    source = tmp_path / f"source {name}"
    source.write_bytes(made("even.mp4").read_bytes())
    copy(source, tmp_path / name)
    assert_same_times(source, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("out.xyz", {}, r"'\.xyz'.*mp4"),
        ("out", {}, "without a suffix"),
        ("out.mp4", {"encoder": "libx266"}, "no video encoder called 'libx266'.*libx264"),
        ("out.mp4", {"encoder": "aac"}, "no video encoder called 'aac'"),
        ("out.webm", {"encoder": "libx264"}, "cannot be written as webm with libx264"),
        ("out.mp4", {"encoder": "h264_v4l2m2m"}, "with h264_v4l2m2m on this machine"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(
    made: Callable[[str], Path], tmp_path: Path, name: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason) as raised:
        copy(made("even.mp4"), tmp_path / name, VideoOptions(**options))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("options", [{"quality": 101}, {"quality": -1}, {"audio": "loud"}])
def test_options_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        VideoOptions(**options)


def test_a_full_disk_is_an_oserror_for_whoever_named_the_file(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from copies import copy\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    copy(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "except OSError as error:\n"
        "    sys.exit(0 if error.errno == 27 else 2)\n"
        "sys.exit(1)\n"
    )
    arguments = [str(made("even.mp4")), str(tmp_path / "out.mp4"), str(Path(__file__).parent)]
    line = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(
        line, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
