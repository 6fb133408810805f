"""Fill a Triton model repository with a chosen model for a chosen backend."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from faceblur.detection.detector import ModelInfo
from faceblur.detection.letterbox import canonical_shapes
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detection.repository import model_repository
from faceblur.detection.triton.runtime import JPEG_MODEL, MIN_INSTANCES, POSTPROCESS
from faceblur.errors import OutputError
from faceblur.files import atomic_path, file_sha256
from faceblur_export.gate.record import record_path, write_record
from faceblur_export.gate.step import admit, verdict
from faceblur_export.onnx_graph.file import read_onnx
from faceblur_export.progress import ShowShare
from faceblur_export.tensorrt.plan import (
    PLAN_NAME,
    PlanOptions,
    build_plan,
    manifest_path,
    profiles_for,
)

DETECTOR: Final = "yolov5_face"
MODEL_NAME: Final = "model.onnx"
LEFT_OUT: Final = (
    "*.onnx", "*.plan", "*.plan.json", "*.gate.json", "shipped.json", "__pycache__"
)  # fmt: skip
"""What a copy of the repository does not take along."""


def fill_repository(
    output: Path,
    onnx_path: Path,
    *,
    name: str | None = None,
    size: int = DEFAULT_SIZE,
    plan: PlanOptions | None = None,
    data: Path | None = None,
    renew: bool = False,
    jetson: bool = False,
    progress: ShowShare | None = None,
) -> ModelInfo:
    """Put a model into a model repository, and say in its configurations which it is.

    Args:
        output: The repository. It is made as a copy of ours where there is none; in one that is
            there already, only the detector is replaced.
        onnx_path: The detector. One of lower precision must have passed the gate; see
            `gate.step.admit`.
        name: What the server calls it; what the file says when None.
        size: Longest side of the images that will come: its shapes are warmed up.
        plan: Build a TensorRT plan too; None for the other backends.
        data: Labelled images to judge a precision below FP32 by.
        renew: Bring the other models of a repository that is there up to date as well.
        jetson: Fit it to a Jetson Orin; see `_fit_to_jetson`.
        progress: Called while the plan is built.

    Returns:
        What a client will be told of the model.

    Raises:
        InputError: The labelled images cannot be used.
        ModelError: The ONNX file cannot be used or was refused by the gate, or the plan cannot be
            built.
        OutputError: The repository cannot be written, or is something else.
    """
    _, metadata = read_onnx(onnx_path)
    info = ModelInfo(name or metadata["name"], file_sha256(onnx_path), int(metadata["stride"]))
    precision = metadata["precision"] if plan is None else plan.precision
    record = None
    if plan is None or plan.verdict is None or data is not None:
        record = admit(onnx_path, precision, data=data, size=size)
    _prepare(output, renew=renew)
    plan_file = plan_path(output)
    target = plan_file.with_name(MODEL_NAME)
    is_same = target.is_file() and file_sha256(target) == info.sha256
    with _writing(output):
        # A plan of the model before must never answer in the name of this one.
        for stale in (plan_file, manifest_path(plan_file)):
            stale.unlink(missing_ok=True)
        if not is_same:
            record_path(target).unlink(missing_ok=True)
    if not is_same:
        with atomic_path(target) as temporary:
            shutil.copyfile(onnx_path, temporary)
    if record is not None and record.candidate_sha256 == info.sha256:
        write_record(record_path(target), record)
    profiles = len(profiles_for(size, info.stride)) if plan is not None else 0
    main = output / DETECTOR / "config.pbtxt"
    for config in (main, *sorted((output / DETECTOR / "configs").glob("*.pbtxt"))):
        _describe(config, info, size=size, profiles=profiles if config == main else 0)
    letterbox = output / JPEG_MODEL / "config.pbtxt"
    # A repository from before it had one is left as it is.
    if letterbox.is_file():
        with _editing(letterbox) as config:
            _set_parameters(config, {"stride": str(info.stride), "size": str(size)})
    if jetson:
        _fit_to_jetson(output)
    if plan is not None:
        kept = plan.verdict if record is None else None
        judged = kept or verdict(record, precision)
        build_plan(target, plan_file.parent, dataclasses.replace(plan, verdict=judged), progress)
    return info


def plan_path(output: Path) -> Path:
    """Where the plan of a repository lies."""
    return output / DETECTOR / "1" / PLAN_NAME


def _prepare(output: Path, *, renew: bool) -> None:
    """Make the repository as a copy of ours, unless it is one already."""
    known = (output / DETECTOR / "config.pbtxt").is_file()
    if known and not renew:
        return
    with _writing(output):
        if not known and output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise OutputError(
                f"{output} is there and is no model repository; give a new folder with --output"
            )
        shutil.copytree(
            model_repository(),
            output,
            ignore=shutil.ignore_patterns(*LEFT_OUT),
            dirs_exist_ok=True,
        )


def _describe(path: Path, info: ModelInfo, *, size: int, profiles: int) -> None:
    """Write into a configuration which model it serves, and what it is warmed up with."""
    said = {"model_name": info.name, "model_sha256": info.sha256, "stride": str(info.stride)}
    with _editing(path) as config:
        _set_parameters(config, said)
        _warm_up(config, canonical_shapes(size=size, stride=info.stride))
        for group in config.instance_group:
            # The first profile fits every shape. Each of the others is nearer to its own than the
            # first is, see `profiles_for`; without a name here Triton would pass it over.
            group.profile[:] = [str(number) for number in range(profiles)]


def _set_parameters(config: Any, values: dict[str, str]) -> None:
    for key, value in values.items():
        config.parameters[key].string_value = value


def _fit_to_jetson(output: Path) -> None:
    """As few instances as do not stall on the small GPU, and queues without a bound.

    The last Triton for Jetson is 26.02, and before 26.03 an ensemble hangs for ever when a queue of
    one of its models is full. What waits longer than the queues' time-out is dropped all the same.
    """
    folders = [output / name for name in (DETECTOR, POSTPROCESS, JPEG_MODEL)]
    for path in [config for folder in folders for config in sorted(folder.rglob("*.pbtxt"))]:
        with _editing(path) as config:
            batching = config.dynamic_batching
            for queue in (batching.default_queue_policy, *batching.priority_queue_policy.values()):
                queue.max_queue_size = 0
            for group in config.instance_group:
                group.count = min(group.count, MIN_INSTANCES)


@contextmanager
def _editing(path: Path) -> Iterator[Any]:
    """A configuration to change; it is written when the block is done."""
    config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    yield config
    with atomic_path(path) as temporary:
        temporary.write_text(text_format.MessageToString(config))


def _warm_up(config: Any, shapes: tuple[tuple[int, int], ...]) -> None:
    """Replace the warm-up by the same batch sizes at these shapes."""
    batches = list(dict.fromkeys(warmup.batch_size for warmup in config.model_warmup))
    del config.model_warmup[:]
    for batch in batches:
        for height, width in shapes:
            warmup = config.model_warmup.add()
            warmup.name = f"{height}x{width} batch {batch}"
            warmup.batch_size = batch
            images = warmup.inputs["images"]
            images.data_type = model_config_pb2.TYPE_UINT8
            images.dims[:] = [height, width, 3]
            images.zero_data = True


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, shutil.Error) as error:
        reason = getattr(error, "strerror", None) or "not every file could be copied"
        raise OutputError(f"cannot write the model repository {output}: {reason}") from error
