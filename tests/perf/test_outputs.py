"""The record of outputs tells what changed, and nothing that did not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks.outputs import command
from benchmarks.outputs.cases import Case, cases
from benchmarks.outputs.facts import file_facts, plain
from faceblur.cli import main

# What a server elsewhere needs, and a log that says when and where.
LEFT_OUT = {"--tls", "--tls-ca", "--tls-cert", "--tls-key", "--verbose", "--help"}
# Where the work is done; what comes out is held by tests of its own.
LEFT_OUT |= {"--on", "--shard", "--cpus-per-worker", "--workers-per-gpu", "--hardware-decoding"}


def test_every_option_of_blur_is_in_a_case() -> None:
    blur = main.get_command(click.Context(main), "blur")
    assert blur is not None
    params = blur.params
    names = {option for p in params for option in (*p.opts, *p.secondary_opts)}
    said = {word for case in cases() for step in case.steps for word in step}
    short = {"-o": "--output", "-q": "--quiet", "-v": "--verbose"}
    wanted = {n for n in names if n.startswith("--")} - LEFT_OUT - {"--cover", "--color"}
    assert wanted - {short.get(word, word) for word in said} == set()
    assert len({case.name for case in cases()}) == len(cases()) >= 40


def _png(path: Path, pixels: Any) -> None:
    Image.fromarray(pixels).save(path)


def _video(path: Path, pixels: Any) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 33, 30, "yuv420p"
        for shift in range(3):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels, shift, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(("name", "write"), [("a.png", _png), ("a.mkv", _video)])
def test_a_single_pixel_shows(
    tmp_path: Path, name: str, write: Callable[[Path, Any], None]
) -> None:
    pixels = np.zeros((30, 33, 3), np.uint8)
    path = tmp_path / name
    write(path, pixels)
    first = file_facts(path, {})
    write(path, pixels)
    assert file_facts(path, {}) == first
    pixels[10:12, 10:12] = 255
    write(path, pixels)
    assert command.differences(first, file_facts(path, {}))


def test_what_passes_is_left_out() -> None:
    text = (
        "/tmp/x7/a.jpg: 2 faces, 3.4 s at 12.5 fps, head " + "ab" * 32 + "\nb  1 1  0.3 masked\n\n"
    )
    told = plain(text, {"/tmp/x7": "<here>"})
    assert told == ["<here>/a.jpg: 2 faces, <time> at <time>, head <hash>", "b 1 1 <time> masked"]


PROGRAM = """
import json, pathlib, sys
pathlib.Path("out.json").write_text(json.dumps({"faces": FACES, "seconds": id(sys)}))
print("FACES faces, 0.1 s", file=sys.stderr)
sys.exit(CODE)
"""


@pytest.mark.parametrize(
    ("faces", "code", "places"),
    [
        (2, 0, set()),
        (3, 0, {"files / out.json", "steps / 0 / stderr"}),
        (2, 1, {"steps / 0 / exit"}),
    ],
)
def test_a_change_of_the_code_is_named(
    tmp_path: Path, faces: int, code: int, places: set[str]
) -> None:
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "plain.jpg").write_bytes(b"x")
    case = Case("one", ("d/plain.jpg",), (("blur", "d"),))
    found = []
    for name, text in (
        ("old", PROGRAM.replace("FACES", "2").replace("CODE", "0")),
        ("new", PROGRAM.replace("FACES", str(faces)).replace("CODE", str(code))),
    ):
        package = tmp_path / name / "client" / "faceblur"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(text)
        work = tmp_path / f"work of {name}"
        work.mkdir()
        found.append({"one": command._run(case, inputs, work, tmp_path / name, {})})
    said = {line.partition(":")[0] for line in command.differences(*found)}
    assert len(said) == len(places)
    assert all(any(place in line for line in said) for place in places)


def test_a_difference_ends_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "cases", list)
    monkeypatch.setattr(command, "make_inputs", lambda folder, _: folder.mkdir())
    old = tmp_path / "old.json"

    def run() -> Any:
        options = ["--output", str(tmp_path / "new.json"), "--against", str(old)]
        return CliRunner().invoke(command.outputs, options)

    old.write_text(json.dumps({"card": {}, "cases": {}}))
    same = run()
    assert (same.exit_code, "no difference" in same.output) == (0, True), same.output
    old.write_text(json.dumps({"card": {}, "cases": {"gone": {"exit": 0}}}))
    other = run()
    assert (other.exit_code, "gone / exit: 0 -> nothing" in other.output) == (1, True)
