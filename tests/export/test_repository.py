"""A filled repository serves the chosen model, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from faceblur.detection.repository import model_repository
from faceblur.errors import ModelError, OutputError
from faceblur.files import file_sha256
from faceblur_export.network import build
from faceblur_export.onnx import export_onnx
from faceblur_export.onnx_graph.detector import detector_graph
from faceblur_export.repository import fill_repository
from faceblur_export.tensorrt.builders import PythonBuilder
from faceblur_export.tensorrt.gpu import Gpu
from faceblur_export.tensorrt.plan import PlanOptions, check_plan

A10 = Gpu("NVIDIA A10", "8.6")
CONFIGS = ("config.pbtxt", "configs/embedded.pbtxt", "configs/onnxruntime.pbtxt")


@pytest.fixture(scope="module")
def detector(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return export_onnx(shared / "weights" / "yolov5n-0.5-face.pt", output).path


def config(repository: Path, name: str = "config.pbtxt") -> Any:
    text = (repository / "yolov5_face" / name).read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def parameters(repository: Path, name: str) -> dict[str, str]:
    return {k: v.string_value for k, v in config(repository, name).parameters.items()}


def test_new_repository_holds_the_model_and_names_it(detector: Path, tmp_path: Path) -> None:
    output = tmp_path / "repository"
    info = fill_repository(output, detector, name="mine")
    served = output / "yolov5_face" / "1" / "model.onnx"
    assert file_sha256(served) == info.sha256 == file_sha256(detector)
    for name in CONFIGS:
        told = parameters(output, name)
        assert (told["model_name"], told["model_sha256"]) == ("mine", info.sha256)
        assert told["stride"] == "32"
        ours = text_format.Parse(
            (model_repository() / "yolov5_face" / name).read_text(), model_config_pb2.ModelConfig()
        )
        new = config(output, name)
        assert new.model_warmup == ours.model_warmup
        for each in (ours, new):
            each.parameters.clear()
        assert new == ours
    for part in ("face_postprocess/1/face_decoding.py", "face_detection/config.pbtxt"):
        assert (output / part).read_bytes() == (model_repository() / part).read_bytes()
    assert not list(output.rglob("*.plan"))


def test_p6_variants_are_warmed_up_at_multiples_of_64(tmp_path: Path) -> None:
    graph = detector_graph(build("yolov5n6"), "p6", weights_sha256="0" * 64, licence="MIT")
    (tmp_path / "p6.onnx").write_bytes(graph.SerializeToString())
    info = fill_repository(tmp_path / "repository", tmp_path / "p6.onnx")
    assert (info.name, info.stride) == ("p6", 64)
    letterbox = (tmp_path / "repository" / "jpeg_letterbox" / "config.pbtxt").read_text()
    told = text_format.Parse(letterbox, model_config_pb2.ModelConfig()).parameters
    assert told["stride"].string_value == "64"
    warmups = config(tmp_path / "repository").model_warmup
    sides = [tuple(warmup.inputs["images"].dims[:2]) for warmup in warmups]
    assert (384, 640) in sides
    assert (512, 640) in sides
    assert all(side % 64 == 0 for shape in sides for side in shape)
    assert len({warmup.name for warmup in warmups}) == len(warmups)


def test_plan_is_built_into_the_repository(detector: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX exists for Linux x86-64 alone")
    rtx = PythonBuilder("tensorrt_rtx", target=A10)
    output = tmp_path / "repository"
    fill_repository(output, detector, size=64, plan=PlanOptions(rtx, A10, size=64))
    plan = output / "yolov5_face" / "1" / "model.plan"
    manifest = check_plan(plan, builder=rtx, gpus=[A10])
    told = parameters(output, "config.pbtxt")
    assert manifest.onnx_sha256 == told["model_sha256"]
    profiles = list(config(output).instance_group[0].profile)
    assert profiles == [str(i) for i in range(manifest.profiles)]
    assert not config(output, "configs/onnxruntime.pbtxt").instance_group[0].profile

    # Another model without a plan: the old plan must not answer in its name.
    fill_repository(output, detector, name="another")
    assert not plan.exists()
    assert not list(config(output).instance_group[0].profile)
    assert parameters(output, "config.pbtxt")["model_name"] == "another"


def test_filled_again_in_place(detector: Path, tmp_path: Path) -> None:
    output = tmp_path / "repository"
    fill_repository(output, detector, name="first")
    own = output / "another_model" / "config.pbtxt"
    own.parent.mkdir()
    own.write_text("name: 'kept'")
    fill_repository(output, output / "yolov5_face" / "1" / "model.onnx", name="second")
    assert parameters(output, "configs/embedded.pbtxt")["model_name"] == "second"
    assert own.read_text() == "name: 'kept'"


def test_other_folders_are_left_alone(detector: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"jpg")
    with pytest.raises(OutputError, match="is no model repository; give a new folder"):
        fill_repository(tmp_path / "photos", detector)
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["holiday.jpg"]
    with pytest.raises(OutputError, match="is no model repository"):
        fill_repository(tmp_path / "photos" / "holiday.jpg", detector)
    with pytest.raises(ModelError, match="cannot read"):
        fill_repository(tmp_path / "new", tmp_path / "absent.onnx")
    assert not (tmp_path / "new").exists()
