"""The models that decode by DALI, as far as they can be judged without it.

What the pipelines give was compared by hand: docs/serving.md says how.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from faceblur.detection.letterbox import canonical_shapes

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy" / "dali" / "make_models.py"


def config(folder: Path) -> Any:
    text = (folder / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("make_models", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    output = tmp_path_factory.mktemp("dali")
    made = module.write(
        output, size=640, stride=32, on_gpu=True, serialise=lambda h, w: f"{h} {w}".encode()
    )
    assert len(list(made)) == len(canonical_shapes())
    return output


def test_each_shape_has_a_model_and_an_ensemble_that_fit_the_others(repository: Path) -> None:
    ours = ROOT / "model_repository"
    whole = config(ours / "face_detection_jpeg")
    python, detector = config(ours / "jpeg_letterbox"), config(ours / "yolov5_face")
    for height, width in canonical_shapes():
        decoder = config(repository / f"jpeg_letterbox_{height}x{width}")
        model = repository / decoder.name / "1" / "model.dali"
        assert model.read_text() == f"{height} {width}"
        assert (decoder.backend, decoder.max_batch_size) == ("dali", 8)
        # Files of different lengths share a batch, and no queue has one consumer alone.
        assert decoder.input[0].allow_ragged_batch
        assert decoder.instance_group[0].count >= 2
        assert decoder.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
        assert decoder.dynamic_batching == python.dynamic_batching
        types = {each.name: each.data_type for each in decoder.output}
        assert types == {each.name: each.data_type for each in python.output}
        assert types["images"] == detector.input[0].data_type
        assert list(decoder.output[0].dims) == [height, width, 3]
        ensemble = config(repository / f"face_detection_jpeg_{height}x{width}")
        assert ensemble.output == whole.output
        steps, expected = ensemble.ensemble_scheduling.step, whole.ensemble_scheduling.step
        assert steps[0].model_name == decoder.name
        assert list(steps[1:]) == list(expected[1:])
        assert dict(steps[0].output_map) == dict(expected[0].output_map)


def test_without_dali_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    output = tmp_path / "models"
    code = (
        "import runpy, sys; sys.modules['nvidia'] = None; "
        f"sys.argv = ['make_models.py', '--output', {str(output)!r}]; "
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("run: pip install nvidia-dali-cuda120")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not output.exists()
