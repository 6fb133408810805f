"""The detector that the model repository holds: pixels in, the best raw candidates out.

Input `images` UINT8 (B, H, W, 3) RGB, 0–255, H and W multiples of the largest stride
(some others work as well, and the rest are refused).
Outputs, for the 3,000 best anchors (see `_add_ranks`), best first:

- `candidates` FP32 (B, 3000, 16): x y w h objectness, five landmarks as x y, class, not decoded;
- `priors` FP32 (B, 3000, 5): cell x, cell y, stride, anchor width, anchor height; the last three
  in pixels.

An input with fewer anchors fills up with rows of objectness -1e4.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from faceblur_export.network import YOLOv5Face
from faceblur_export.network.model import ANCHORS_PER_CELL, VALUES
from faceblur_export.onnx_graph.builder import FLOAT, INT32, UINT8, OnnxBuilder
from faceblur_export.onnx_graph.layers import add_network

CANDIDATES: Final = 3000
"""Rows of each output."""

FLOOR_LOGIT: Final = math.log(0.05 / 0.95)
"""Objectness of 0.05: a cell that reaches it is never left out for another's spare anchors."""

LIFT: Final = 32.0
"""More than any two objectness values above the floor differ by."""

EMPTY_OBJECTNESS: Final = -1e4
"""Objectness of a row that fills up; its probability is 0 in any precision."""


def detector_graph(model: YOLOv5Face, name: str, *, weights_sha256: str, licence: str) -> Any:
    """Make the detector's `onnx.ModelProto` in FP32; the same weights always give the same bytes.

    Args:
        model: The network.
        name: Name of the model, such as `yolov5n-0.5-face`.
        weights_sha256: Hash of the checkpoint it was made from, hexadecimal.
        licence: SPDX identifier of the weights' licence.
    """
    builder = OnnxBuilder()
    # Cast first: TensorRT does not transpose UINT8.
    pixels = builder.add("Cast", ["images"], "pixels_nhwc", to=FLOAT)
    pixels = builder.add("Transpose", [pixels], "pixels", perm=[0, 3, 1, 2])
    maps = add_network(builder, model, pixels)
    _add_selection(builder, model, maps)
    return builder.model(
        {"images": (UINT8, ["batch", "height", "width", 3])},
        {
            "candidates": (FLOAT, ["batch", CANDIDATES, VALUES]),
            "priors": (FLOAT, ["batch", CANDIDATES, 5]),
        },
        {
            "name": name,
            "variant": model.variant,
            "stride": str(model.stride),
            "classes": "face",
            "precision": "fp32",
            "weights_sha256": weights_sha256,
            "licence": licence,
        },
    )


def _add_selection(builder: OnnxBuilder, model: YOLOv5Face, maps: list[str]) -> None:
    """Choose the best anchors.

    Rows are numbered level by level, then y, x, anchor: so a head map becomes rows by one
    transposition. After them stands one more cell of empty rows; every index past the end
    becomes the last of them.
    """
    add, constant = builder.add, builder.constant
    row_shape = constant("row_shape", [0, -1, VALUES], np.int64)
    levels = []
    for i, head in enumerate(maps):
        nhwc = add("Transpose", [head], f"level_{i}.nhwc", perm=[0, 2, 3, 1])
        levels.append(add("Reshape", [nhwc, row_shape], f"level_{i}.rows"))

    shape = add("Shape", ["images"], "images.shape")
    batch = add("Gather", [shape, constant("first", [0], np.int64)], "batch_size", axis=0)
    empty_cell = np.zeros((1, ANCHORS_PER_CELL, VALUES))
    empty_cell[..., 4] = EMPTY_OBJECTNESS
    empty = constant("empty_cell", empty_cell, np.float32)
    ones = constant("ones", [1, 1], np.int64)
    empty_shape = add("Concat", [batch, ones], "empty.shape", axis=0)
    empty = add("Expand", [empty, empty_shape], "empty")
    rows = add("Concat", [*levels, empty], "rows", axis=1)

    ranks = _add_ranks(builder, rows)
    count = add("Shape", [ranks], "count", start=1, end=2)
    wanted = constant("wanted", [CANDIDATES], np.int64)
    zero = constant("zero", [0], np.int64)
    missing = add("Max", [add("Sub", [wanted, count], "missing.signed"), zero], "missing")
    pads = add("Concat", [constant("no_pads", [0, 0, 0], np.int64), missing], "pads", axis=0)
    fill = constant("fill", EMPTY_OBJECTNESS, np.float32)
    ranks = add("Pad", [ranks, pads, fill], "ranks.padded")
    best = builder.add_top_k(ranks, wanted, "best")
    last = add("Sub", [count, constant("one", [1], np.int64)], "last")
    best = add("Min", [best, last], "best.capped")

    index = add("Unsqueeze", [best, constant("minus_one", [-1], np.int64)], "best.index")
    add("GatherND", [rows, index], "candidates", batch_dims=1)
    _add_priors(builder, model, maps, best)


def _add_ranks(builder: OnnxBuilder, rows: str) -> str:
    """Rank the rows: the best anchor of every cell that may hold a face, then all others.

    Both by objectness. By objectness alone, a dense crowd fills the candidates with the second
    and third anchors of its clearest faces, and its smaller faces are lost. There are 8,400 cells
    in 640 × 640 pixels, but even crowds hardly put faces into 3,000.

    Returns:
        Tensor (B, rows).
    """
    add, constant = builder.add, builder.constant
    column = constant("objectness_column", 4, np.int64)
    objectness = add("Gather", [rows, column], "objectness", axis=2)
    cell_shape = constant("cell_shape", [0, -1, ANCHORS_PER_CELL], np.int64)
    cells = add("Reshape", [objectness, cell_shape], "objectness.cells")
    # Anchors in the middle: comparing long rows with each other is the fast way.
    anchors = add("Transpose", [cells], "objectness.anchors", perm=[0, 2, 1])
    best = add("ReduceMax", [anchors], "objectness.best", axes=[1], keepdims=1)
    enough = add("Clip", [best, constant("floor", FLOOR_LOGIT, np.float32)], "objectness.enough")
    leads = add("GreaterOrEqual", [anchors, enough], "leads")
    leads = add("Cast", [leads], "leads.fp32", to=FLOAT)
    lifts = add("Mul", [leads, constant("lift", LIFT, np.float32)], "lifts")
    ranks = add("Add", [anchors, lifts], "ranks.anchors")
    ranks = add("Transpose", [ranks], "ranks.cells", perm=[0, 2, 1])
    return add("Reshape", [ranks, constant("flat_shape", [0, -1], np.int64)], "ranks")


def _add_priors(builder: OnnxBuilder, model: YOLOv5Face, maps: list[str], best: str) -> None:
    """Work out cell, stride and anchor of the chosen rows from their numbers alone."""
    add, constant = builder.add, builder.constant
    row = add("Cast", [best], "row", to=INT32)
    # From the maps themselves: where the sides of an image are no multiples of the stride, they
    # hold more cells than its size divided by the stride.
    sizes = [add("Shape", [head], f"level_{i}.size", start=2, end=4) for i, head in enumerate(maps)]
    size = add("Cast", [add("Concat", sizes, "sizes", axis=0)], "sizes_int32", to=INT32)
    levels = np.arange(len(maps))
    lines = add("Gather", [size, constant("places_of_lines", 2 * levels, np.int64)], "lines")
    columns = add(
        "Gather", [size, constant("places_of_columns", 2 * levels + 1, np.int64)], "columns"
    )
    per_cell = constant("anchors_per_cell", ANCHORS_PER_CELL, np.int32)
    rows = add("Mul", [add("Mul", [columns, lines], "cells"), per_cell], "level_rows")
    # Number of the first row of each level.
    firsts = [constant("first_row", [0], np.int32)]
    for i in levels[:-1]:
        count = add("Gather", [rows, constant(f"place_{i}", [i], np.int64)], f"level_{i}.count")
        firsts.append(add("Add", [firsts[-1], count], f"level_{i + 1}.first_row"))
    starts = add("Concat", firsts, "starts", axis=0)

    axis = constant("axis_1", [1], np.int64)
    end = constant("levels", [len(maps)], np.int64)
    later = add("Slice", [starts, axis, end], "starts.later")
    # Levels along the middle axis: comparing long rows with one number each is the fast way.
    later = add("Unsqueeze", [later, "minus_one"], "starts.column")
    past = add("GreaterOrEqual", [add("Unsqueeze", [row, axis], "row.line"), later], "past")
    past = add("Cast", [past], "past_int32", to=INT32)
    level = add("ReduceSum", [past, axis], "level", keepdims=0)

    local = add("Sub", [row, add("Gather", [starts, level], "start", axis=0)], "local")
    cell = add("Div", [local, per_cell], "cell")
    anchor = add("Sub", [local, add("Mul", [cell, per_cell], "cell.first")], "anchor")
    line_width = add("Gather", [columns, level], "line_width", axis=0)
    y = add("Div", [cell, line_width], "y")
    x = add("Sub", [cell, add("Mul", [y, line_width], "y.first")], "x")
    cells_xy = [add("Unsqueeze", [v, "minus_one"], f"{v}.column") for v in (x, y)]
    xy = add("Concat", cells_xy, "xy", axis=2)
    xy = add("Cast", [xy], "xy_fp32", to=FLOAT)

    table = np.array(
        [
            (stride, *size)
            for stride, sizes in zip(model.strides, model.anchors.tolist(), strict=True)
            for size in sizes
        ]
    )
    entry = add("Add", [add("Mul", [level, per_cell], "level.first"), anchor], "entry")
    boxes = add("Gather", [constant("boxes", table, np.float32), entry], "box", axis=0)
    add("Concat", [xy, boxes], "priors", axis=2)
