"""The detector with decode and suppression inside its ONNX graph: a contender, not the product.

It gives the faces that the ensemble gives, but not its refusals: values that are not finite and
images with more faces than candidates pass silently.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, compose

from faceblur_export.onnx_graph.builder import FLOAT, INT32, OnnxBuilder
from faceblur_export.onnx_graph.detector import CANDIDATES

INT64: Final = TensorProto.INT64
IOU_THRESHOLD: Final = 0.5


def write_graph(detector: Path, target: Path) -> None:
    """Write a model with inputs `images`, `min_score` and outputs `faces`, `face_count`.

    They have the types and shapes of the ensemble's.

    Args:
        detector: An ONNX file that `faceblur-export onnx` wrote.
        target: The file to write.
    """
    builder = OnnxBuilder()
    _add_decode(builder)
    _add_suppression(builder)
    _add_padding(builder)
    tail = builder.model(
        {
            "candidates": (FLOAT, ["batch", CANDIDATES, 16]),
            "priors": (FLOAT, ["batch", CANDIDATES, 5]),
            "min_score": (FLOAT, ["batch", 1]),
        },
        {
            "faces": (FLOAT, ["batch", "count", 15]),
            "face_count": (INT32, ["batch", 1]),
        },
        {},
    )
    # The detector's names are its own.
    tail = compose.add_prefix(tail, "faces/", rename_inputs=False, rename_outputs=False)
    joined = compose.merge_models(
        onnx.load(detector),
        tail,
        io_map=[(name, name) for name in ("candidates", "priors")],
        outputs=["faces", "face_count"],
    )
    onnx.checker.check_model(joined)
    onnx.save(joined, target)


def _add_decode(b: OnnxBuilder) -> None:
    """`decoded` (B, K, 14): x1 y1 x2 y2 and landmarks; `scores` (B, K). See `face_decoding`."""
    b.constant("two", 2, "float32")
    b.constant("half", 0.5, "float32")
    columns = {"t_xy": (0, 2), "t_wh": (2, 4), "t_object": (4, 5), "t_marks": (5, 15)}
    for name, (start, end) in {**columns, "t_class": (15, 16)}.items():
        _slice(b, "candidates", start, end, name)
    for name, (start, end) in {"cell": (0, 2), "stride": (2, 3), "anchor": (3, 5)}.items():
        _slice(b, "priors", start, end, name)
    for name in ("t_xy", "t_wh", "t_object", "t_class"):
        b.add("Sigmoid", [name], f"s_{name}")
    doubled = b.add("Mul", ["s_t_xy", "two"], "xy_doubled")
    shifted = b.add("Sub", [doubled, "half"], "xy_shifted")
    centre = b.add("Mul", [b.add("Add", [shifted, "cell"], "xy_cells"), "stride"], "centre")
    wide = b.add("Mul", ["s_t_wh", "two"], "wh_doubled")
    whole = b.add("Mul", [b.add("Mul", [wide, wide], "wh_squared"), "anchor"], "whole_size")
    size = b.add("Mul", [whole, "half"], "half_size")
    corner = b.add("Mul", ["cell", "stride"], "corner")
    b.constant("five", [1, 1, 5], "int64")
    anchors = b.add("Tile", ["anchor", "five"], "anchors_of_marks")
    corners = b.add("Tile", [corner, "five"], "corners_of_marks")
    marks = b.add("Add", [b.add("Mul", ["t_marks", anchors], "marks_scaled"), corners], "marks")
    low, high = b.add("Sub", [centre, size], "low"), b.add("Add", [centre, size], "high")
    b.add("Concat", [low, high], "boxes", axis=-1)
    score = b.add("Mul", ["s_t_object", "s_t_class"], "score_column")
    b.add("Concat", ["boxes", score, marks], "decoded", axis=-1)
    b.constant("last_axis", [2], "int64")
    b.add("Squeeze", [score, "last_axis"], "scores")


def _add_suppression(b: OnnxBuilder) -> None:
    """`selected` (n, 3): image, 0, candidate; by image, best first."""
    # One threshold holds for all images; what does not reach its own image's is set to zero.
    b.constant("zero", 0, "float32")
    b.constant("class_axis", [1], "int64")
    counts = b.add("Greater", ["scores", "min_score"], "scores_count")
    passed = b.add("Where", [counts, "scores", "zero"], "scores_passed")
    b.constant("most", [CANDIDATES], "int64")
    b.constant("iou", [IOU_THRESHOLD], "float32")
    b.constant("nothing", [0], "float32")
    inputs = ["boxes", b.add("Unsqueeze", [passed, "class_axis"], "scores_by_class")]
    b.add("NonMaxSuppression", [*inputs, "most", "iou", "nothing"], "selected")


def _add_padding(b: OnnxBuilder) -> None:
    """`faces` (B, N, 15) filled up with zeros, N at least 1; `face_count` (B, 1)."""
    for name, value in {"i0": 0, "i1": 1}.items():
        b.constant(name, value, "int64")
    for name, axes in {"a0": [0], "a1": [1], "two_columns": [0, 2]}.items():
        b.constant(name, axes, "int64")
    b.constant("fifteen", [15], "int64")
    place = b.add("Gather", ["selected", "two_columns"], "place", axis=1)
    rows = b.add("GatherND", ["decoded", place], "rows")
    image = b.add("Gather", ["selected", "a0"], "image_number", axis=1)
    batch = b.add("Shape", ["scores"], "batch_size", start=0, end=1)
    number = b.add("Squeeze", [batch, "a0"], "batch_number")
    images = b.add("Range", ["i0", number, "i1"], "image_numbers")
    belongs = b.add("Cast", [b.add("Equal", [image, images], "is_of")], "of", to=INT64)
    counts = b.add("ReduceSum", [belongs, "a0"], "counts", keepdims=0)
    starts = b.add("CumSum", [counts, "i0"], "starts", exclusive=1)
    first = b.add("Gather", [starts, image], "first", axis=0)
    total = b.add("Squeeze", [b.add("Shape", [rows], "n", start=0, end=1), "a0"], "total")
    order = b.add("Range", ["i0", total, "i1"], "order")
    rank = b.add("Sub", [b.add("Unsqueeze", [order, "a1"], "order_column"), first], "rank")
    target = b.add("Concat", [image, rank], "target", axis=1)
    # The longest list, at least one row: a tensor without elements does not survive Triton.
    longest = b.add("ReduceMax", [counts], "longest", axes=[0], keepdims=1)
    width = b.add("Max", [longest, "a1"], "width")
    shape = b.add("Concat", [batch, width, "fifteen"], "faces_shape", axis=0)
    empty = b.add("Expand", ["zero", shape], "empty")
    b.add("ScatterND", [empty, target, rows], "faces")
    column = b.add("Unsqueeze", [counts, "a1"], "count_column")
    b.add("Cast", [column], "face_count", to=INT32)


def _slice(b: OnnxBuilder, source: str, start: int, end: int, name: str) -> str:
    ends = [
        b.constant(f"from_{start}", [start], "int64"),
        b.constant(f"to_{end}", [end], "int64"),
    ]
    return b.add("Slice", [source, *ends, b.constant("columns", [2], "int64")], name)
