"""What is installed: a thin client, and a wheel that carries the models."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from faceblur.errors import install_line

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "onnx", "onnxruntime", "pytriton", "scipy", "matplotlib", "tensorrt", "ray")


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
    assert carried >= {
        "yolov5_face/configs/embedded.pbtxt", "yolov5_face/1/model.onnx", "yolov5_face/1/fast.onnx"
    }  # fmt: skip


def test_the_wheel_carries_the_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}
    assert top == {"faceblur", "faceblur_export", "faceblur_training"}
    assert {
        "faceblur/detection/canary.png",
        "faceblur/__init__.pyi",
        "faceblur/py.typed",
        "faceblur_training/loop/bundled.pt",
        "faceblur_training/loop/fast.pt",
        "faceblur_training/model_card/card.md.j2",
    } <= set(wheel.namelist())


def test_the_base_is_thin(metadata: Message) -> None:
    base = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    names = {r.split(">")[0].split("=")[0].split("[")[0].strip() for r in base}
    assert names == {
        "av", "cattrs", "click", "filelock", "lazy-loader", "numpy", "opencv-python", "pillow",
        "platformdirs", "prometheus-client", "pyyaml", "tritonclient",
    }  # fmt: skip


def test_nothing_pulls_in_tensorrt_but_its_own_extra(metadata: Message) -> None:
    wanting = [
        r for r in metadata.get_all("Requires-Dist", []) if r.split(">")[0].strip() == "tensorrt"
    ]
    assert len(wanting) == 1
    assert "extra == 'tensorrt'" in wanting[0]


def test_a_gpu_takes_the_other_build_and_nothing_else_does(metadata: Message) -> None:
    """Both builds of ONNX Runtime write into one folder: no extra may bring both."""
    wanting: dict[str, set[str]] = {}
    for line in metadata.get_all("Requires-Dist", []):
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == '(\w+)'", line)
        if name and extra and name[0].startswith("onnxruntime"):
            wanting.setdefault(extra[1], set()).add(name[0])
    assert wanting.pop("gpu") == {"onnxruntime-gpu"}
    assert {name for names in wanting.values() for name in names} == {"onnxruntime"}
    ours = "|".join(metadata.get_all("Requires-Dist", []))
    assert not re.search(r"faceblur-triton\[[^]]*\bgpu\b", ours)


def test_the_client_imports_nothing_heavy() -> None:
    check = f"import sys, faceblur, faceblur.cli; sys.exit(str(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False)
    assert done.stderr.strip() == b"set()"


@pytest.mark.parametrize(("first", "quiet"), [("faceblur", True), ("sys", False)])
def test_onnx_runtime_reports_to_nobody(tmp_path: Path, first: str, quiet: bool) -> None:
    script = f"import {first}, onnxruntime, os; print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    told = subprocess.check_output(
        [sys.executable, "-c", script], env=environment | {"TMPDIR": str(tmp_path)}, text=True
    )
    assert told.strip() == ("1" if quiet else "None")
    # The mark of a session that is reported, which not every release leaves.
    assert not quiet or list(tmp_path.iterdir()) == []


def test_an_install_line_works_from_any_folder(tmp_path: Path) -> None:
    script = "import faceblur.errors as e; print(e.install_line('heic'))"
    line = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True)
    assert line.startswith("pip install -e ")
    options = "--dry-run --no-deps --no-index --no-build-isolation --disable-pip-version-check"
    told = subprocess.run(
        [sys.executable, "-m", *shlex.split(line), *options.split()],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Would install faceblur-triton" in told.stdout
    assert "does not provide the extra" not in told.stdout + told.stderr


def test_an_install_line_is_short_in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install_line("heic") == 'pip install -e ".[heic]"'


@pytest.mark.parametrize("package", ["faceblur", "faceblur-triton"])
def test_no_hint_asks_the_package_index_for_us(package: str) -> None:
    # The first is a stranger's project there, the second does not exist.
    listing = subprocess.check_output(["git", "ls-files", *_TEXTS], cwd=ROOT, text=True)
    wrong = {name for name in listing.split() if _asks((ROOT / name).read_text(), package)}
    assert wrong - {"pyproject.toml", "tests/test_packaging.py"} == set()


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('run: pip install "faceblur-triton[heic]"', True),
        ("`pip install\n  -U faceblur-triton`", True),
        ("fetch it with `faceblur-triton[export]`", True),
        ('pip install -e ".[local]" && faceblur blur', False),
        ('pip install -e "/srv/faceblur-triton[heic]"', False),
        ("/tmp/faceblur-triton-12", False),
    ],
)
def test_a_hint_that_asks_the_index_is_seen(text: str, asks: bool) -> None:
    assert _asks(text, "faceblur-triton") is asks


def test_every_extra_that_a_hint_names_exists(metadata: Message) -> None:
    listing = subprocess.check_output(["git", "ls-files", *_TEXTS], cwd=ROOT, text=True)
    text = "\n".join((ROOT / name).read_text() for name in listing.split())
    named = set(re.findall(r"(?:install_line|needing)\(['\"](\w+)['\"]\)", text))
    named |= set(re.findall(r'pip install -e "\.\[(\w+)\]"', text))
    extras = set(metadata.get_all("Provides-Extra", []))
    assert {"local", "heic", "export"} <= named <= extras


_TEXTS = ["*.py", "*.md", "*.yaml", "*.yml", "*.toml", ".env", "Dockerfile", "deploy"]


def _asks(text: str, package: str) -> bool:
    """Whether a text tells to install a package by its name on an index."""
    options = r"(?:-[-\w]+\s+)*"
    by_name = rf'pip install\s+{options}["\']?{package}(?![\w.-])'
    return re.search(rf"{by_name}|(?<![\w/-]){re.escape(package)}\[", text) is not None
