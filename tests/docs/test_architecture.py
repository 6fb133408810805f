"""The page on the architecture names what there is, and the layers are held."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LAYERS = re.search(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.S | re.M)


def _exists(name: str) -> bool:
    """Whether a module of the client, or what it holds, is called so."""
    parts = f"faceblur.{name}".split(".")
    for cut in range(len(parts), 1, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_every_name_on_the_page_exists() -> None:
    names = set(re.findall(r"`((?:[a-z_]+\.)+\w+)`", PAGE)) - {"cameras.yaml"}
    assert len(names) > 40
    assert [name for name in sorted(names) if not _exists(name)] == []
    assert not _exists("batch.video.mask_movie")
    assert not _exists("moving.video")


def test_the_image_shows_the_layers_that_are_held() -> None:
    image = PAGE.split("```")[1].strip().splitlines()
    shown = [set(re.split(r" {3,}", line)[0].split()) for line in image]
    assert LAYERS is not None
    held = re.findall(r'"(.*)"', LAYERS[1])
    assert shown == [set(re.findall(r"(?:faceblur\.)?(\w+)", layer)) for layer in held]


UPWARD = {
    "client/faceblur/video/orientation.py": "faceblur.detection.options",
    "client/faceblur/masks/policy.py": "faceblur.cli.table",
    "export/faceblur_export/choice.py": "faceblur_training.loop.settings",
    "client/faceblur/errors.py": "faceblur_export.choice",
}
"""Modules, and what they must not import."""


def test_an_import_that_goes_upward_or_round_is_caught(tmp_path: Path) -> None:
    roots = ("client", "export", "training")
    for root in roots:
        shutil.copytree(
            *(ROOT / root, tmp_path / root),
            ignore=lambda folder, names: [
                name for name in names if Path(folder, name).is_file() and name[-3:] != ".py"
            ],
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, imported in UPWARD.items():
        with (tmp_path / module).open("a") as file:
            file.write(f"\nimport {imported}\n")
    ended = subprocess.run(
        [shutil.which("lint-imports") or "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(tmp_path / root) for root in roots)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1, ended.stderr
    assert "Contracts: 0 kept, 2 broken." in ended.stdout
    for module, imported in UPWARD.items():
        name = ".".join(Path(module).with_suffix("").parts[1:])
        assert f"{name} -> {imported}" in ended.stdout
