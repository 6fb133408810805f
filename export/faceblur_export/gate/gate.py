"""Models of lower precision held against the same ones in FP32: may they take their place?"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Literal

from faceblur.detection.crowds import CrowdDetector
from faceblur.detection.gpu.precision import half_path
from faceblur.detection.gpu.use import PROVIDERS, GpuUse
from faceblur.detection.in_process import InProcessDetector
from faceblur.detection.models import cached_models
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.repository import SHIPPED, shipped_onnx
from faceblur.detection.runtimes import CPU_CHOICE, Choice
from faceblur.errors import InputError, ModelError
from faceblur.files import file_sha256
from faceblur.gpus import find_gpus
from faceblur_export.data.formats import LabelledImage
from faceblur_export.evaluation.matching import MatchedFaces, match_images, read_labelled
from faceblur_export.gate.losses import check_enough, losses
from faceblur_export.gate.record import GateRecord
from faceblur_export.onnx import export_onnx
from faceblur_export.onnx_graph.file import read_onnx
from faceblur_export.onnx_graph.half_precision import to_half
from faceblur_export.progress import ShowItems


def judge(
    candidate: Path,
    data: Path,
    *,
    reference: Path | None = None,
    size: int = DEFAULT_SIZE,
    threshold: float = DEFAULT_THRESHOLD,
    progress: ShowItems = iter,
) -> GateRecord:
    """Hold a model against the same model in FP32.

    Args:
        candidate: Its ONNX file.
        data: Folder of labelled images, in any format that training reads.
        reference: ONNX file of the same weights in FP32; when None, the bundled or fetched model
            that has them.
        size: Longest side given to the network, pixels.
        threshold: Score above which a face counts as found.
        progress: Wraps the images, once for each model.

    Raises:
        InputError: The images or labels cannot be used, or are too few to judge by.
        ModelError: A model cannot be used, or the two are not of the same weights.
    """
    _, metadata = read_onnx(candidate)
    if metadata["precision"] == "fp32":
        raise ModelError(f"{candidate} is FP32: there is nothing to judge it against")
    reference = _checked(reference, candidate, metadata) or find_reference(candidate)
    how = (metadata["precision"], CPU_CHOICE)
    return _judge(candidate, reference, data, how, size, threshold, progress)


def judge_bfloat16(
    model: Path, data: Path, *, size: int = DEFAULT_SIZE, progress: ShowItems = iter
) -> GateRecord:
    """Hold a model that OpenVINO runs in bfloat16 against the same file in ONNX Runtime.

    A CPU without bfloat16 rounds the same way, several times slower.

    Raises:
        InputError: As for `judge`.
        ModelError: OpenVINO cannot run it.
    """
    return _judge(
        model, model, data, ("bf16", Choice("openvino")), size, DEFAULT_THRESHOLD, progress
    )


def judge_on_gpu(
    model: Path,
    data: Path,
    precision: Literal["fp16", "tf32"],
    *,
    size: int = DEFAULT_SIZE,
    progress: ShowItems = iter,
) -> tuple[Path, GateRecord]:
    """Hold a model in lower precision, as CUDA runs it on this machine, against it on the CPU.

    For `fp16` its form in FP16 is written beside it, and stays there if it passed.

    Returns:
        The file that was judged, and the judgement.

    Raises:
        InputError: As for `judge`, or there is no NVIDIA GPU.
        ModelError: The GPU cannot run it.
        OutputError: The FP16 form cannot be written.
    """
    gpus = find_gpus()
    if not gpus:
        raise InputError("there is no NVIDIA GPU here; judge it where it will run")
    candidate = half_path(model) if precision == "fp16" else model
    if precision == "fp16":
        export_onnx(model, candidate, precision="fp16")
    use = GpuUse(
        runtime="cuda",
        provider=PROVIDERS["cuda"],
        onnx=candidate,
        precision=precision,
        gpus=gpus[:1],
        instances=1,
        batch=1,
        engines=None,
    )
    how = (precision, Choice("cuda", use))
    passed = False
    try:
        record = _judge(candidate, model, data, how, size, DEFAULT_THRESHOLD, progress)
        passed = record.passed
    finally:
        if candidate != model and not passed:
            candidate.unlink()
    return candidate, record


def _judge(
    candidate: Path,
    reference: Path,
    data: Path,
    how: tuple[str, Choice],
    size: int,
    threshold: float,
    progress: ShowItems,
) -> GateRecord:
    """Hold a candidate, in its precision and runtime, against a reference."""
    precision, choice = how
    images = read_labelled(data)
    before = _findings(reference, images, size=size, progress=progress)
    check_enough(before, data)
    after = _findings(candidate, images, size=size, progress=progress, choice=choice)
    return GateRecord(
        candidate=read_onnx(candidate)[1]["name"],
        candidate_sha256=file_sha256(candidate),
        precision=precision,
        reference_sha256=file_sha256(reference),
        data=data.resolve().name,
        pictures=len(images),
        size=size,
        threshold=threshold,
        losses=tuple(losses(before, after, threshold=threshold)),
    )


def judge_half(model: Path, data: Path, *, size: int = DEFAULT_SIZE) -> GateRecord:
    """Hold the FP16 form of an FP32 model against it, as `judge` does."""
    converted, _ = read_onnx(model)
    to_half(converted)
    with tempfile.TemporaryDirectory(prefix="faceblur-") as folder:
        candidate = Path(folder, "fp16.onnx")
        candidate.write_bytes(converted.SerializeToString(deterministic=True))
        return judge(candidate, data, reference=model, size=size)


def find_reference(candidate: Path) -> Path:
    """The FP32 model on this machine that has the candidate's weights.

    Raises:
        ModelError: There is none.
    """
    _, wanted = read_onnx(candidate)
    for path in (*map(shipped_onnx, SHIPPED), *cached_models().values()):
        _, found = read_onnx(path)
        if _same_weights(found, wanted) and found["precision"] == "fp32":
            return path
    raise ModelError(
        f"no FP32 model with the weights of {candidate} is on this machine; name one with "
        "--reference"
    )


def _checked(reference: Path | None, candidate: Path, metadata: dict[str, str]) -> Path | None:
    """A reference that was named, if it is one for this candidate."""
    if reference is None:
        return None
    _, found = read_onnx(reference)
    if found["precision"] != "fp32":
        raise ModelError(f"{reference} is {found['precision']}; give an FP32 file as --reference")
    if not _same_weights(found, metadata):
        raise ModelError(
            f"{reference} was made from other weights than {candidate}; export both from one "
            "checkpoint"
        )
    return reference


def _same_weights(first: dict[str, str], second: dict[str, str]) -> bool:
    weights = first.get("weights_sha256")
    return bool(weights) and weights == second.get("weights_sha256")


def _findings(
    model: Path,
    images: list[LabelledImage],
    *,
    size: int,
    progress: ShowItems,
    choice: Choice = CPU_CHOICE,
) -> MatchedFaces:
    # One thread: sums are then taken in the same order every time.
    inner = InProcessDetector(model, instances=1, threads=1, choice=choice)
    with closing(CrowdDetector(inner)) as detector:
        if inner.choice != choice:
            raise ModelError(f"{choice.where} cannot run {model} here; nothing was judged")
        return match_images(detector, images, size=size, progress=progress)
