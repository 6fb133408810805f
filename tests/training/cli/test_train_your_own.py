"""The five commands of docs/train-your-own.md, on a tiny set of images."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from faceblur.cli import main
from rig.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "train-your-own.md"
SHORT = {"--steps 2000": "--steps 6 --set sides=[128] --set batch=4"}
"""What a test cannot wait for."""


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with labelled images to train on and others held back."""
    monkeypatch.chdir(tmp_path)
    _label("faces", 12, seed=1)
    _label("faces-held-back", 4, seed=2)
    return tmp_path


def test_the_five_commands_lead_to_a_served_model(workshop: Path) -> None:
    # The second block takes an hour on a GPU.
    commands, _, (resume,), (compare,) = _blocks()
    assert len(commands) == 5
    *preparing, serving = commands
    for command in preparing[:2]:
        _run(command)
    _run(resume + " --steps 9")
    for command in preparing[2:]:
        _run(command)
    # What six steps taught may well be worse, which is exit code 1.
    _run(compare, codes=(0, 1))
    assert cv2.imread("samples.png") is not None
    assert (workshop / "mine.json").read_text().startswith("{")

    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(serving), "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert "serving mine" in line
        image = next((workshop / "faces-held-back").rglob("*.png"))
        result = CliRunner().invoke(
            main, ["blur", str(image), "-o", "out.png", "--server", f"127.0.0.1:{port}"]
        )
        assert result.exit_code == 0, result.output
        assert "mine model" in result.stdout
        assert cv2.imread("out.png").shape == cv2.imread(str(image)).shape
    finally:
        server.terminate()
        server.wait(timeout=60)


def _blocks() -> list[list[str]]:
    text = PAGE.read_text()
    for long, short in SHORT.items():
        assert long in text
        text = text.replace(long, short)
    return [block.strip().splitlines() for block in re.findall(r"```\n(.*?)```", text, re.DOTALL)]


def _run(command: str, codes: tuple[int, ...] = (0,)) -> None:
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in codes, f"{command}: {done.stderr[-2000:]}"


def _label(name: str, count: int, *, seed: int) -> None:
    """Write images of a real face on coloured ground, with a `labels.txt`."""
    portrait = cv2.imread(str(ROOT / "docs" / "images" / "before.jpg"))
    face = portrait[53:180, 176:275]
    rng = np.random.default_rng(seed)
    images = Path(name, "images")
    images.mkdir(parents=True)
    lines = []
    for index in range(count):
        ground = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        image = cv2.resize(ground, (256, 192), interpolation=cv2.INTER_CUBIC)
        height = int(rng.integers(40, 120))
        width = height * face.shape[1] // face.shape[0]
        x, y = int(rng.integers(0, 256 - width)), int(rng.integers(0, 192 - height))
        image[y : y + height, x : x + width] = cv2.resize(face, (width, height))
        cv2.imwrite(str(images / f"{index}.png"), image)
        lines += [f"images/{index}.png", "1", f"{x} {y} {width} {height} face"]
    Path(name, "labels.txt").write_text("\n".join(lines) + "\n")
