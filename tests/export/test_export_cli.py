"""`faceblur-export` as a user types it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from faceblur.detection.models import read_model_info
from faceblur.errors import install_line
from faceblur_export import cli
from faceblur_export.tensorrt import builders as tensorrt_builders
from faceblur_export.tensorrt import gpu
from faceblur_export.tensorrt.builders import PythonBuilder
from faceblur_export.tensorrt.gpu import Gpu

NAME = "yolov5n-0.5-face"
A10 = Gpu("NVIDIA A10", "8.6")


def run(*words: object) -> Result:
    return CliRunner().invoke(cli.main, [str(word) for word in words])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACEBLUR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def checkpoint(shared: Path) -> Path:
    return shared / "weights" / f"{NAME}.pt"


@pytest.fixture
def rtx_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, as far as a plan can be built without one."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX exists for Linux x86-64 alone")
    monkeypatch.setattr(
        tensorrt_builders, "find_builder", lambda: PythonBuilder("tensorrt_rtx", target=A10)
    )
    monkeypatch.setattr(gpu, "gpus", lambda: [A10])


def refused(result: Result, code: int) -> str:
    """The one sentence on stderr of a command that failed."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_weights_from_a_file_to_a_served_model(
    checkpoint: Path, cache: Path, tmp_path: Path
) -> None:
    assert "not here" in run("weights", "list").stdout.splitlines()[0]
    pulled = run("weights", "pull", NAME, "--from", checkpoint)
    assert pulled.exit_code == 0, pulled.output
    assert str(cache / "models" / f"{NAME}.onnx") in pulled.stdout
    assert str(cache) in run("weights", "list").stdout.splitlines()[0]

    repository = tmp_path / "repository"
    filled = run(
        "repository", "--variant", "yolov5n-0.5", "--backend", "embedded", "-o", repository
    )
    assert filled.exit_code == 0, filled.output
    assert read_model_info(repository / "yolov5_face" / "1" / "model.onnx").name == NAME


def test_onnx(checkpoint: Path, tmp_path: Path) -> None:
    done = run("onnx", checkpoint, "-o", tmp_path / "x.onnx", "--name", "x", "--precision", "fp16")
    assert done.exit_code == 0, done.output
    info = read_model_info(tmp_path / "x.onnx")
    assert info.name == "x"
    assert info.sha256 in done.stdout


def test_plan_and_its_rebuild_command(
    checkpoint: Path, tmp_path: Path, rtx_machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = tmp_path / "a model.onnx", tmp_path / "plan"
    run("onnx", checkpoint, "-o", model)
    built = run("tensorrt", model, "-o", folder, "--size", 64)
    assert built.exit_code == 0, built.output
    assert run("tensorrt", "-o", folder, "--check").exit_code == 0

    (folder / "model.plan").write_bytes(b"of another machine")
    sentence = refused(run("tensorrt", "-o", folder, "--check"), 5)
    command = shlex.split(sentence.partition("build it again with: ")[2])
    assert command[0] == "faceblur-export"
    assert run(*command[1:]).exit_code == 0
    assert run("tensorrt", "-o", folder, "--check").exit_code == 0


def test_plan_in_a_repository(checkpoint: Path, tmp_path: Path, rtx_machine: None) -> None:
    done = run("repository", "--weights", checkpoint, "-o", tmp_path / "r", "--size", 64)
    assert done.exit_code == 0, done.output
    assert run("tensorrt", "-o", tmp_path / "r" / "yolov5_face" / "1", "--check").exit_code == 0


def test_mistakes_end_in_one_sentence_and_a_code(checkpoint: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.pt"
    text.write_text("weights")
    assert "yolov5n-0.5-face" in refused(run("weights", "pull", "yolov9"), 5)
    assert "was refused" in refused(run("weights", "pull", NAME, "--from", text), 5)
    assert "fetch it again" in refused(run("onnx", text, "-o", tmp_path / "x.onnx"), 5)
    assert "does not exist" in refused(
        run("onnx", checkpoint, "-o", tmp_path / "absent" / "x.onnx"), 4
    )
    wanted = ("repository", "--backend", "embedded", "-o", tmp_path / "r")
    assert "weights pull yolov5s-face" in refused(run(*wanted, "--variant", "yolov5s"), 5)
    assert "no official weights" in refused(run(*wanted, "--variant", "yolov5s6"), 5)
    other = refused(run(*wanted, "--weights", checkpoint, "--variant", "yolov5s"), 5)
    assert "holds yolov5n-0.5, not yolov5s" in other
    assert "is that of a TensorRT plan" in refused(run(*wanted, "--precision", "int8"), 3)
    assert "leave out --data" in refused(run(*wanted, "--data", tmp_path), 3)
    assert not (tmp_path / "x.onnx").exists()
    assert not (tmp_path / "r").exists()


def test_machine_without_a_gpu_changes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sentence = refused(run("repository", "--weights", checkpoint, "-o", tmp_path / "r"), 5)
    assert "TensorRT" in sentence or "NVIDIA" in sentence
    assert not (tmp_path / "r").exists()


def test_a_missing_package_is_one_sentence_wherever_it_is_needed(
    checkpoint: Path, tmp_path: Path
) -> None:
    script = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from click.testing import CliRunner
from faceblur.errors import ModelError
from faceblur_export.cli import main
from faceblur_export.evaluation.inference import open_detector
checkpoint, output = sys.argv[2:]
for words in (["onnx", checkpoint, "-o", output], ["repository", "--weights", checkpoint,
              "--backend", "embedded", "-o", output]):
    sys.stderr.write(CliRunner().invoke(main, words).output)
try:
    open_detector(checkpoint).__enter__()
except ModelError as error:
    sys.stderr.write(f"{error}\\n")
"""
    for package in ("torch", "onnx"):
        command = [sys.executable, "-c", script, package, str(checkpoint), str(tmp_path / "out")]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
        assert len(told.splitlines()) == 3, told
        for line in told.splitlines():
            assert f"{package} is not installed; run: " in line
            assert package == "torch" or install_line("export") in line
    assert not (tmp_path / "out").exists()
