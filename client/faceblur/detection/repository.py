"""Where the Triton model repository is, and what it carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Final

from faceblur.errors import ModelError


def model_repository() -> Path:
    """The folder of the model repository: the installed copy, or the checkout's.

    Raises:
        ModelError: The installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "model_repository", package.parents[1] / "model_repository"):
        if (folder / "face_detection" / "config.pbtxt").is_file():
            return folder
    raise ModelError("the model repository is missing from this installation; reinstall faceblur")


BUNDLED_MODEL: Final = "bundled"
"""Name of the model that the repository carries and serves."""

FAST_MODEL: Final = "fast"
"""Name of the smaller one beside it."""

SHIPPED: Final = {BUNDLED_MODEL: "model.onnx", FAST_MODEL: "fast.onnx"}
"""The models that come with faceblur, and their files."""


def shipped_onnx(name: str = BUNDLED_MODEL) -> Path:
    """The ONNX file of a model that comes with faceblur, one of `SHIPPED`.

    Raises:
        ModelError: It is not there.
    """
    path = model_repository() / "yolov5_face" / "1" / SHIPPED[name]
    if not path.is_file():
        raise ModelError(
            f"the {name} model is missing from this installation; reinstall faceblur, or name "
            "another with --model"
        )
    return path


def shipped_record() -> Path:
    """The file that says of each of `SHIPPED` which `sha256` and `stride` it has."""
    return model_repository() / "yolov5_face" / "1" / "shipped.json"


def load_code(model: str, name: str) -> ModuleType:
    """Load a Python module that lies beside a model, where Triton runs the same one.

    Raises:
        ModelError: The installation is incomplete.
    """
    path = model_repository() / model / "1" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ModelError(f"{name}.py is missing from this installation; reinstall faceblur")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
