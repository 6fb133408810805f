"""What is installed: a thin client, and a wheel that carries the models."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "onnx", "onnxruntime", "pytriton", "scipy", "matplotlib", "tensorrt")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("faceblur_triton-*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_carries_the_whole_model_repository(wheel: zipfile.ZipFile) -> None:
    carried = {
        name.removeprefix("faceblur/model_repository/")
        for name in wheel.namelist()
        if name.startswith("faceblur/model_repository/")
    }
    listing = subprocess.check_output(["git", "ls-files", "model_repository"], cwd=ROOT, text=True)
    expected = {name.removeprefix("model_repository/") for name in listing.split()}
    assert carried >= expected
    assert "yolov5_face/configs/embedded.pbtxt" in carried


def test_the_wheel_carries_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert top == {"faceblur", "faceblur_export", "faceblur_training"}
    assert {"faceblur/canary.png", "faceblur/py.typed"} <= set(wheel.namelist())


def test_the_base_is_thin(metadata: Message) -> None:
    base = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    names = {r.split(">")[0].split("=")[0].split("[")[0].strip() for r in base}
    assert names == {
        "av", "click", "filelock", "numpy", "opencv-python", "pillow", "platformdirs",
        "prometheus-client", "pyyaml", "tritonclient",
    }  # fmt: skip


def test_nothing_pulls_in_tensorrt_but_its_own_extra(metadata: Message) -> None:
    wanting = [
        r for r in metadata.get_all("Requires-Dist", []) if r.split(">")[0].strip() == "tensorrt"
    ]
    assert len(wanting) == 1
    assert "extra == 'tensorrt'" in wanting[0]


def test_the_client_imports_nothing_heavy() -> None:
    check = f"import sys, faceblur, faceblur.cli; sys.exit(str(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False)
    assert done.stderr.strip() == b"set()"
