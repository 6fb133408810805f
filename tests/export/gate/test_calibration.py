"""What INT8 is calibrated with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import noise_images

from faceblur.detection.repository import shipped_onnx
from faceblur.errors import InputError
from faceblur_export.onnx import export_onnx
from faceblur_export.onnx_graph.calibration import Calibration, read_calibration
from faceblur_export.onnx_graph.int8 import to_int8


def test_same_frames_give_the_same_bytes() -> None:
    model = onnx.load(shipped_onnx())
    noise = Calibration("noise", tuple(noise_images(2, 64, 96)))
    assert to_int8(model, noise).SerializeToString() == to_int8(model, noise).SerializeToString()


def test_calibration_takes_frames_of_a_video(shared: Path) -> None:
    videos = sorted((shared / "media").rglob("*.mp4"))
    calibration = read_calibration(videos[0], frames=4)
    assert 1 <= len(calibration.canvases) <= 4
    assert all(canvas.shape[0] % 32 == canvas.shape[1] % 32 == 0 for canvas in calibration.canvases)
    assert all(canvas.dtype == np.uint8 for canvas in calibration.canvases)
    assert calibration.sha256 != replace(calibration, canvases=calibration.canvases[:-1]).sha256


def test_calibration_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("frames")
    output = tmp_path / "x.onnx"
    for precision, source, reason in (
        ("int8", None, "needs --calibration"),
        ("fp16", tmp_path / "empty", "for --precision int8 alone"),
        ("int8", tmp_path / "empty", "holds no image"),
        ("int8", tmp_path / "text.txt", "a folder of images or a video"),
    ):
        with pytest.raises(InputError, match=reason):
            export_onnx(shipped_onnx(), output, precision=precision, calibration=source)  # type: ignore[arg-type]
    assert not output.exists()
