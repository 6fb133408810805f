"""TensorRT plans: built on the machine that runs them, and refused on any other.

A plan holds machine code for one GPU model and one TensorRT release. Beside every plan lies a
manifest, `NAME.plan.json`, that says which.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from faceblur.detection.letterbox import canonical_shapes
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.errors import ModelError, OutputError
from faceblur.files import atomic_path, file_sha256
from faceblur_export.gate.step import admit, check_precision, verdict
from faceblur_export.onnx_graph.file import read_onnx
from faceblur_export.onnx_graph.half_precision import to_half
from faceblur_export.progress import ShowShare
from faceblur_export.tensorrt.builders import PlanBuilder, Profile
from faceblur_export.tensorrt.gpu import Gpu

MAX_BATCH: Final = 8
"""`max_batch_size` of the model repository."""

PLAN_NAME: Final = "model.plan"


@dataclass(frozen=True)
class PlanOptions:
    """The builder of a plan, the GPU that will run it, and what is wanted.

    `size` is the longest side of the inputs in pixels, `verdict` how the plan was held against FP32
    already; None where it has to be.
    """

    builder: PlanBuilder
    gpu: Gpu
    precision: str = "fp16"
    size: int = DEFAULT_SIZE
    verdict: str | None = None


@dataclass(frozen=True)
class PlanManifest:
    """What a plan was built from, by and for.

    Hashes are SHA-256, hexadecimal; sides of the inputs are multiples of `stride` up to `size`
    pixels; `gate` says how it was held against FP32, `calibration` on how many frames of which
    INT8 was calibrated, and their hash.
    """

    model: str
    onnx: str
    onnx_sha256: str
    plan_sha256: str
    precision: str
    size: int
    stride: int
    max_batch: int
    profiles: int
    runtime: str
    tensorrt_version: str
    gpu: str
    compute_capability: str
    gate: str
    calibration: str

    def rebuild_command(self, plan: Path) -> str:
        """The command that builds the plan again."""
        words = ["faceblur-export", "tensorrt", self.onnx, "--output", str(plan.parent.absolute())]
        words += ["--precision", self.precision, "--size", str(self.size)]
        return shlex.join(words)


def manifest_path(plan: Path) -> Path:
    """Where the manifest of a plan lies."""
    return plan.with_name(f"{plan.name}.json")


def profiles_for(size: int, stride: int, max_batch: int = MAX_BATCH) -> list[Profile]:
    """The shapes that a plan is made for.

    Triton runs each batch with the profile whose best shape is nearest, the first of several as
    near. Its backend (the releases up to 26.06 that were read) compares the best height with the
    batch, the best width with the height, and three with the width. So the general profile's best
    shape is farther from every canonical one than that one's own, by the backend's count and by a
    right one.

    Returns:
        First a profile for every shape up to `size` × `size`, which Triton takes when its
        configuration names none; then, if there are several, one for each canonical shape. All
        take any batch up to `max_batch`.
    """
    shapes = canonical_shapes(size=size, stride=stride)
    longest = max(max(shape) for shape in shapes)
    usual = max(1, max_batch // 2)
    best = (longest, min(min(shape) for shape in shapes) - stride)
    every = Profile(
        (1, stride, stride, 3),
        (usual, *(shapes[0] if len(shapes) == 1 else best), 3),
        (max_batch, longest, longest, 3),
    )
    if len(shapes) == 1:
        return [every]
    return [every, *(Profile((1, *s, 3), (usual, *s, 3), (max_batch, *s, 3)) for s in shapes)]


def build_plan(
    onnx_path: Path,
    folder: Path,
    options: PlanOptions,
    progress: ShowShare | None = None,
    *,
    data: Path | None = None,
) -> PlanManifest:
    """Build `model.plan` and its manifest.

    Args:
        onnx_path: A detector made by `faceblur-export onnx`. One in FP32 is turned into FP16
            where that is wanted; INT8 must have passed the gate.
        folder: Where plan and manifest are written; it is made if need be.
        options: What for.
        progress: Called while it is built.
        data: Labelled images to judge a precision below FP32 by; see `gate.step.admit`.

    Raises:
        InputError: The labelled images cannot be used.
        ModelError: The model cannot be used or was refused by the gate, or TensorRT refuses it.
        OutputError: Plan or manifest cannot be written.
    """
    model, metadata = _read(onnx_path, options.precision)
    judged = options.verdict
    if judged is None:
        record = admit(onnx_path, options.precision, data=data, size=options.size)
        judged = verdict(record, options.precision)
    stride = int(metadata["stride"])
    profiles = profiles_for(options.size, stride)
    path = folder / PLAN_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    plan = options.builder.build(model, profiles, progress or (lambda _: None))
    manifest = PlanManifest(
        model=metadata["name"],
        onnx=str(onnx_path.absolute()),
        onnx_sha256=file_sha256(onnx_path),
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        precision=options.precision,
        size=options.size,
        stride=stride,
        max_batch=MAX_BATCH,
        profiles=len(profiles),
        runtime=options.builder.runtime,
        tensorrt_version=options.builder.version,
        gpu=options.gpu.name,
        compute_capability=options.gpu.compute_capability,
        gate=judged,
        calibration=_calibration(metadata),
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(plan)
    with atomic_path(manifest_path(path)) as temporary:
        temporary.write_text(json.dumps(asdict(manifest), indent=2) + "\n")
    return manifest


def check_plan(plan: Path, *, builder: PlanBuilder, gpus: Sequence[Gpu]) -> PlanManifest:
    """The manifest of a plan, if that describes it and it suits TensorRT and every GPU here.

    Raises:
        ModelError: It does not match; the message holds the command that builds it again.
    """
    manifest = read_manifest(plan)
    again = f"build it again with: {manifest.rebuild_command(plan)}"
    if file_sha256(plan) != manifest.plan_sha256:
        raise ModelError(f"{plan} is not the plan that its manifest describes; {again}")
    here = f"{builder.runtime} {_release(builder.version)}"
    there = f"{manifest.runtime} {_release(manifest.tensorrt_version)}"
    if here != there:
        raise ModelError(f"{plan} was built by {there}, but this machine has {here}; {again}")
    wanted = Gpu(manifest.gpu, manifest.compute_capability)
    for gpu in gpus:
        if gpu != wanted:
            raise ModelError(
                f"{plan} was built for {_describe(wanted)}, but this machine has "
                f"{_describe(gpu)}; {again}"
            )
    source = Path(manifest.onnx)
    if source.is_file() and file_sha256(source) != manifest.onnx_sha256:
        raise ModelError(f"{source} has changed since {plan} was built from it; {again}")
    return manifest


def read_manifest(plan: Path) -> PlanManifest:
    """Read the manifest beside a plan.

    Raises:
        ModelError: Plan or manifest is missing or unreadable.
    """
    path = manifest_path(plan)
    advice = "build it with: faceblur-export tensorrt ONNX --output " + shlex.quote(
        str(plan.parent)
    )
    if not plan.is_file():
        raise ModelError(f"there is no plan at {plan}; {advice}")
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        return PlanManifest(**{field.name: content[field.name] for field in fields(PlanManifest)})
    except FileNotFoundError as error:
        raise ModelError(f"{plan} has no manifest, so nobody knows its GPU; {advice}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"the manifest {path} cannot be read; {advice}") from error


def _read(path: Path, precision: str) -> tuple[bytes, dict[str, str]]:
    """An ONNX file in the wanted precision, and what it says of itself."""
    model, metadata = read_onnx(path)
    check_precision(path, metadata["precision"], precision)
    if metadata["precision"] != precision:
        to_half(model)
    return model.SerializeToString(deterministic=True), metadata


def _calibration(metadata: dict[str, str]) -> str:
    if "calibration" not in metadata:
        return ""
    return (
        f"{metadata['calibration_frames']} frames of {metadata['calibration']}, SHA-256 "
        f"{metadata['calibration_sha256']}"
    )


def _release(version: str) -> str:
    """The first three numbers: `trtexec` says no more."""
    return ".".join(version.split(".")[:3])


def _describe(gpu: Gpu) -> str:
    return f"{gpu.name} (compute capability {gpu.compute_capability})"
