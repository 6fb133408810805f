"""The checked-in model repository keeps its contract, in each way to run it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from faceblur.detection import models
from faceblur.detection.letterbox import canonical_shapes
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import (
    BUNDLED_MODEL,
    FAST_MODEL,
    SHIPPED,
    model_repository,
    shipped_onnx,
)
from faceblur.detection.triton.connection import PRIORITIES

REPOSITORY = model_repository()
CONFIGS = sorted([*REPOSITORY.glob("*/config.pbtxt"), *REPOSITORY.glob("*/configs/*.pbtxt")])
ENSEMBLE_NAMES = ("face_detection", "face_detection_jpeg")
DETECTORS = [path for path in CONFIGS if "yolov5_face" in path.parts]
ENSEMBLES = [path for path in CONFIGS if path.relative_to(REPOSITORY).parts[0] in ENSEMBLE_NAMES]
MAX_MODELS_BYTES = 9_000_000
"""Of the bundled and the fast model together."""

DESCRIPTION = {
    "model_name": ".+",
    "model_sha256": "[0-9a-f]{64}",
    "stride": r"32|64",
    "runs_on": ".+",
}
"""What the client reads from the configuration of a detector."""

COUNT = r"[1-9]\d*"
KNOWN = {
    # As the backends' pages list them: a backend passes over a name that it does not know.
    "onnxruntime": {
        "intra_op_thread_count": r"\d+",
        "inter_op_thread_count": r"\d+",
        "execution_mode": "0|1",
        "enable_mem_arena": "0|1",
        "enable_mem_pattern": "0|1",
        "memory.enable_memory_arena_shrinkage": r"(cpu|gpu):\d+(;(cpu|gpu):\d+)*",
        "session.use_device_allocator_for_initializers": "0|1",
        "cudnn_conv_algo_search": "0|1|2",
        "gpu_mem_limit": r"\d+",
        "arena_extend_strategy": "0|1",
        "do_copy_in_default_stream": "0|1",
    },
    "tensorrt": {"execution_context_allocation_strategy": "STATIC|ON_PROFILE_CHANGE"},
    # Those that the models in this repository read.
    "python": {
        "default_min_score": r"0\.\d+",
        "threads": COUNT,
        "runtime": "onnxruntime|openvino|cuda|tensorrt",
        "max_side": COUNT,
        "size": COUNT,
        "max_size": COUNT,
        "max_pixels": COUNT,
    },
}


def _parse(path: Path) -> Any:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_every_configuration_is_explicit(path: Path) -> None:
    config = _parse(path)
    assert config.name == path.relative_to(REPOSITORY).parts[0]
    assert config.max_batch_size == 8
    assert config.input
    assert config.output
    if config.platform == "ensemble":
        return
    queue = config.dynamic_batching.default_queue_policy
    assert queue.default_timeout_microseconds > 0
    assert queue.max_queue_size > 0
    assert queue.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    batching = config.dynamic_batching
    assert (batching.priority_levels, batching.default_priority_level) == (2, PRIORITIES["batch"])
    files = batching.priority_queue_policy
    assert list(files) == [PRIORITIES["batch"]]
    assert files[PRIORITIES["batch"]].max_queue_size > queue.max_queue_size
    assert files[PRIORITIES["batch"]].timeout_action == queue.timeout_action
    assert config.instance_group
    # What decodes JPEG loads its decoder itself, and serves on (refusing) where there is none.
    assert bool(config.model_warmup) == (config.name != "jpeg_letterbox")


def test_there_are_four_ways_to_run_the_detector() -> None:
    backends = {_name(path): _parse(path).backend for path in DETECTORS}
    assert backends == {
        "yolov5_face/config.pbtxt": "tensorrt",
        "yolov5_face/configs/embedded.pbtxt": "python",
        "yolov5_face/configs/onnxruntime.pbtxt": "onnxruntime",
        "yolov5_face/configs/onnxruntime_gpu.pbtxt": "onnxruntime",
    }


def _unknown_parameters(config: Any) -> list[str]:
    """Parameters that nothing reads, or whose reader gets no value."""
    known = DESCRIPTION | KNOWN.get(config.backend, {})
    return [
        f"{key}={value.string_value}"
        for key, value in config.parameters.items()
        if key not in known or not re.fullmatch(known[key], value.string_value)
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=_name)
def test_every_parameter_is_known_to_its_backend(path: Path) -> None:
    config = _parse(path)
    assert _unknown_parameters(config) == []
    if config.backend == "python":
        code = "".join(each.read_text() for each in (REPOSITORY / config.name / "1").glob("*.py"))
        described = set(DESCRIPTION) - {"stride"}
        assert all(f'"{key}"' in code for key in set(config.parameters) - described)


def test_a_parameter_that_no_backend_knows_is_caught() -> None:
    config = _parse(REPOSITORY / "yolov5_face" / "configs" / "onnxruntime.pbtxt")
    config.parameters["intra_op_thread_count"].string_value = "one"
    config.parameters["memory.enable_memory_arena_shrinking"].string_value = "cpu:0"
    assert sorted(_unknown_parameters(config)) == [
        "intra_op_thread_count=one",
        "memory.enable_memory_arena_shrinking=cpu:0",
    ]


def test_onnx_runtime_is_set_up_for_what_it_runs_on() -> None:
    cpu, gpu = (
        _parse(REPOSITORY / "yolov5_face" / "configs" / f"{name}.pbtxt")
        for name in ("onnxruntime", "onnxruntime_gpu")
    )
    assert cpu.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert cpu.parameters["intra_op_thread_count"].string_value == "1"
    assert list(cpu.dynamic_batching.preferred_batch_size) == [1]
    assert cpu.dynamic_batching.max_queue_delay_microseconds == 0
    # New shapes come under load: nothing may be tried out then, and both ends are warmed up.
    assert gpu.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert gpu.parameters["cudnn_conv_algo_search"].string_value == "1"
    assert not gpu.dynamic_batching.preferred_batch_size
    assert {warmup.batch_size for warmup in gpu.model_warmup} == {1, gpu.max_batch_size}


@pytest.mark.parametrize("path", DETECTORS, ids=_name)
def test_the_configuration_fits_the_exported_model(path: Path, official: str) -> None:
    session = onnxruntime.InferenceSession(str(models.find(official)[0]))
    config = _parse(path)
    tensors = {tensor.name: tensor for tensor in [*config.input, *config.output]}
    for actual in [*session.get_inputs(), *session.get_outputs()]:
        declared = tensors.pop(actual.name)
        fixed = [-1 if isinstance(side, str) else side for side in actual.shape[1:]]
        assert list(declared.dims) == fixed
        data_type = model_config_pb2.DataType.Name(declared.data_type).removeprefix("TYPE_")
        assert (
            np.dtype(triton_to_np_dtype(data_type)).name
            in {
                "tensor(uint8)": "uint8",
                "tensor(float)": "float32",
            }[actual.type]
        )
    if _name(path) != "yolov5_face/configs/embedded.pbtxt":
        assert not tensors
        return
    # It does the work of the other model as well, and keeps its contract.
    other = _parse(REPOSITORY / "face_postprocess" / "config.pbtxt")
    contract = {tensor.name: tensor for tensor in [*other.input, *other.output]}
    assert tensors == {name: contract[name] for name in tensors}
    assert set(tensors) == {"min_score", "geometry", "faces", "face_count"}


@pytest.mark.parametrize("path", DETECTORS, ids=_name)
def test_every_canonical_shape_is_warmed_up(path: Path) -> None:
    warm = {tuple(w.inputs["images"].dims)[:2] for w in _parse(path).model_warmup}
    assert warm == set(canonical_shapes())


@pytest.mark.parametrize("path", ENSEMBLES, ids=_name)
def test_the_ensemble_passes_every_tensor_on(path: Path) -> None:
    ensemble = _parse(path)
    jpeg = ensemble.name == "face_detection_jpeg"
    made = {tensor.name for tensor in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        folder = REPOSITORY / step.model_name
        chosen = folder / "configs" / path.name
        config = _parse(chosen if chosen.is_file() else folder / "config.pbtxt")
        given = {tensor.name for tensor in config.input} - (set() if jpeg else {"geometry"})
        assert set(step.input_map) == given
        assert set(step.input_map.values()) <= made
        assert set(step.output_map) <= {tensor.name for tensor in config.output}
        made |= set(step.output_map.values())
    assert {tensor.name for tensor in ensemble.output} <= made


def test_clients_see_the_same_ensembles_in_each_way_to_run_them() -> None:
    for path in ENSEMBLES:
        main = _parse(path.parents[len(path.relative_to(REPOSITORY).parts) - 2] / "config.pbtxt")
        ensemble = _parse(path)
        assert ensemble.input == main.input
        assert ensemble.output == main.output


def test_the_default_threshold_is_the_clients() -> None:
    for path in ("face_postprocess/config.pbtxt", "yolov5_face/configs/embedded.pbtxt"):
        value = _parse(REPOSITORY / path).parameters["default_min_score"].string_value
        assert float(value) == DEFAULT_THRESHOLD


@pytest.mark.parametrize(
    "code", ["face_postprocess/1/face_decoding.py", "jpeg_letterbox/1/letterboxing.py"]
)
def test_what_the_client_runs_too_needs_only_numpy(code: str) -> None:
    source = (REPOSITORY / code).read_text()
    imported = {
        line.split()[1] for line in source.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported <= {
        "__future__", "collections.abc", "itertools", "typing", "numpy", "numpy.typing"
    }  # fmt: skip


def test_the_configurations_name_the_bundled_model() -> None:
    _, model = models.find(BUNDLED_MODEL)
    for config in map(_parse, DETECTORS):
        values = {key: value.string_value for key, value in config.parameters.items()}
        assert values["model_name"] == model.name
        assert values["model_sha256"] == model.sha256
        assert values["stride"] == str(model.stride)


def test_a_shipped_model_is_known_without_opening_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = [models.read_model_info(shipped_onnx(name), name=name) for name in SHIPPED]
    with monkeypatch.context() as patch:
        patch.setattr(models, "read_model_info", lambda *_, **__: pytest.fail("it was opened"))
        assert [models.find(name)[1] for name in SHIPPED] == opened
    # Of another file the record is not believed.
    record = tmp_path / "shipped.json"
    record.write_text(json.dumps({name: {"sha256": "0" * 64, "stride": 64} for name in SHIPPED}))
    for wrong in (record, tmp_path / "missing.json", Path(__file__)):
        monkeypatch.setattr(models, "shipped_record", lambda wrong=wrong: wrong)
        assert [models.find(name)[1] for name in SHIPPED] == opened


def test_the_fast_model_lies_beside_the_bundled_one() -> None:
    bundled, fast = (models.find(name) for name in (BUNDLED_MODEL, FAST_MODEL))
    assert (bundled[1].name, fast[1].name) == (BUNDLED_MODEL, FAST_MODEL)
    assert bundled[1].sha256 != fast[1].sha256
    assert models.matches(fast[1], FAST_MODEL)
    assert not models.matches(fast[1], BUNDLED_MODEL)
    sizes = [path.stat().st_size for path, _ in (bundled, fast)]
    assert sum(sizes) < MAX_MODELS_BYTES
    assert sizes[1] < sizes[0] / 3
    assert {models.automatic_model(media) for media in get_args(models.Media)} <= SHIPPED.keys()


def test_jpeg_is_put_onto_the_canvases_that_the_client_uses() -> None:
    _, model = models.find(BUNDLED_MODEL)
    config = _parse(REPOSITORY / "jpeg_letterbox" / "config.pbtxt")
    values = {key: int(value.string_value) for key, value in config.parameters.items()}
    assert (values["size"], values["stride"]) == (DEFAULT_SIZE, model.stride)
    assert values["max_pixels"] >= 7680 * 4320
