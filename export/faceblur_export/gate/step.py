"""The gate before a model of lower precision is served."""

from __future__ import annotations

import logging
from pathlib import Path

from faceblur.errors import InputError, ModelError
from faceblur_export.gate.record import GateRecord, record_path, require_passed
from faceblur_export.onnx_graph.file import read_onnx

logger = logging.getLogger(__name__)

NOT_JUDGED = "not judged"
NOT_NEEDED = "FP32"


def admit(model: Path, precision: str, *, data: Path | None, size: int) -> GateRecord | None:
    """Let a model in, or not.

    With labelled images it is judged by them here and now. Without, an INT8 model needs a record
    beside it that says it passed; FP16 goes in, and the log says that nobody judged it, unless
    there is a record.

    Args:
        model: Its ONNX file.
        precision: In which it will run; an FP32 file can be made to run in FP16.
        data: Folder of labelled images.
        size: Longest side given to the network, pixels.

    Returns:
        How it was judged; None where it was not.

    Raises:
        InputError: The images cannot be used, or there is nothing to judge by them.
        ModelError: It was refused, or has to be judged first.
    """
    _, metadata = read_onnx(model)
    check_precision(model, metadata["precision"], precision)
    if precision == "fp32":
        if data is not None:
            raise InputError("an FP32 model is judged against nothing; leave out --data")
        return None
    is_single = metadata["precision"] == "fp32"
    if data is not None:
        # It needs ONNX Runtime, which is not where plans are built by a record.
        from faceblur_export.gate import gate

        judge = gate.judge_half if is_single else gate.judge
        record = judge(model, data, size=size)
        record.raise_if_refused(model)
        return record
    if precision == "int8" or (not is_single and record_path(model).is_file()):
        return require_passed(model)
    logger.warning(
        "FP16 was not held against FP32 on images of yours; give labelled ones with --data to "
        "have it refused where it finds fewer faces"
    )
    return None


def check_precision(model: Path, given: str, wanted: str) -> None:
    """Make sure that a model of one precision can run in another.

    Raises:
        ModelError: It cannot; the message says what can.
    """
    if given == wanted or (given, wanted) == ("fp32", "fp16"):
        return
    integer = "one made by faceblur-export onnx --precision int8"
    advice = integer if wanted == "int8" else "an FP32 file"
    raise ModelError(f"{model} is {given}; give {advice}, or --precision {given}")


def verdict(record: GateRecord | None, precision: str) -> str:
    """What a manifest says of the judgement."""
    if record is not None:
        return record.summary()
    return NOT_NEEDED if precision == "fp32" else NOT_JUDGED
