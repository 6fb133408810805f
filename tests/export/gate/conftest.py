"""Fixtures of the accuracy gate."""

from __future__ import annotations

from pathlib import Path

import pytest
from judged_models import A10

from faceblur_export.data.formats import read_folder
from faceblur_export.tensorrt.builders import PythonBuilder

IMAGES = {"wider": 26, "masks": 16}
"""Of the evaluation sets: the fewest that hold 20 faces of every height."""


@pytest.fixture(scope="session")
def labelled(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the evaluation sets."""
    folder = tmp_path_factory.mktemp("labelled")
    for name, count in IMAGES.items():
        (folder / name).mkdir()
        lines = []
        for image in read_folder(shared / "data" / "eval" / name)[:count]:
            (folder / name / image.path.name).symlink_to(image.path)
            lines += [image.path.name, str(len(image.boxes))]
            for left, top, right, bottom in image.boxes:
                lines.append(f"{left} {top} {right - left} {bottom - top} face")
        (folder / name / "labels.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def rtx() -> PythonBuilder:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX exists for Linux x86-64 alone")
    return PythonBuilder("tensorrt_rtx", target=A10)
