"""Where the Triton model repository is, and what it carries."""

from __future__ import annotations

from pathlib import Path

from faceblur.errors import ModelError


def model_repository() -> Path:
    """The folder of the model repository: the installed copy, or the checkout's.

    Raises:
        ModelError: The installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "model_repository", package.parents[1] / "model_repository"):
        if (folder / "face_detection" / "config.pbtxt").is_file():
            return folder
    raise ModelError("the model repository is missing from this installation; reinstall faceblur")


def bundled_onnx() -> Path:
    """The ONNX file of the model that the repository carries.

    Raises:
        ModelError: It is not there.
    """
    path = model_repository() / "yolov5_face" / "1" / "model.onnx"
    if not path.is_file():
        raise ModelError(
            "the bundled model is missing from this installation; reinstall faceblur, or name "
            "another with --model"
        )
    return path
