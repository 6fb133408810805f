"""A model card: Markdown and images made from the record of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import PIL.Image
from matplotlib.figure import Figure

from faceblur.detection.options import DEFAULT_THRESHOLD
from faceblur.detection.repository import BUNDLED_MODEL, shipped_onnx
from faceblur.errors import InputError
from faceblur.files import atomic_path, file_sha256
from faceblur_export.evaluation import known_failures
from faceblur_export.evaluation.report import FACTS_KEY, draw_recall_by_height, write_figure
from faceblur_training.model_card.text import image_of, render, suffix


def card_of(name: str) -> Path:
    """Where the card of a model lies in a checkout."""
    return Path("docs", f"model-card{suffix(name)}.md")


def write_card(record: Mapping[str, Any], root: Path) -> list[Path]:
    """Write the card and its images.

    Args:
        record: The record of the model.
        root: Folder of the checkout.

    Returns:
        What was written.

    Raises:
        InputError: The record lacks something.
        OutputError: A file cannot be written.
    """
    text = render(record)
    card = root / card_of(record["measured"]["name"])
    written = [card]
    for name, figure, facts in _images(record):
        path = card.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_figure(path, figure, facts=_digest(facts))
        written.append(path)
    with atomic_path(card) as part:
        part.write_text(text, encoding="utf-8")
    return written


def check_card(record: Mapping[str, Any], root: Path, *, model: Path | None = None) -> None:
    """Check that the card, its images, the record, the model and the threshold belong together.

    Args:
        record: The record of the model.
        root: Folder of the checkout.
        model: The ONNX file; the committed one when None.

    Raises:
        InputError: One was changed without the others; the message says which.
    """
    measured = record["measured"]
    name = measured.get("name", BUNDLED_MODEL)
    committed = file_sha256(model or shipped_onnx(name))
    if measured.get("sha256") != committed:
        raise InputError(
            f"the record of the {name} model describes another file than the committed one "
            f"({committed[:12]}…); run: faceblur-train measure-bundled --name {name}"
        )
    for threshold in (measured["threshold"], measured["threshold_choice"]["threshold"]):
        if threshold != DEFAULT_THRESHOLD:
            raise InputError(
                f"DEFAULT_THRESHOLD is {DEFAULT_THRESHOLD:g}, the record of the {name} model says "
                f"{threshold:g}; set it in faceblur/detection/options.py to what faceblur-train "
                f"threshold gives and run: faceblur-train measure-bundled --name {name}"
            )
    card = root / card_of(name)
    if not card.is_file() or card.read_text(encoding="utf-8") != render(record):
        raise InputError(
            f"{card_of(name)} is not what the record gives; run: faceblur-train model-card"
        )
    for name, _, facts in _images(record):
        path = card.parent / name
        if _described(path) != _digest(facts):
            raise InputError(f"{path} does not show the record; run: faceblur-train model-card")


def _images(record: Mapping[str, Any]) -> Iterator[tuple[PurePosixPath, Figure, Any]]:
    """The images of the card: path, figure, and the facts that it shows."""
    measured = record["measured"]
    sets = [
        {
            "data": figures["data"],
            "ours": figures["ours"]["by_height"],
            "other": figures["other"]["by_height"],
        }
        for figures in measured["figures"]
    ]
    bars = Figure(figsize=(11, 4), layout="constrained")
    for axes, one in zip(bars.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        other = f"official {measured['other']['name']}"
        draw_recall_by_height(axes, [(measured["name"], one["ours"]), (other, one["other"])])
        axes.set_title(one["data"])
    yield image_of("recall-by-height", measured["name"]), bars, [measured["other"]["name"], sets]

    rows, threshold = measured["failures"], measured["threshold"]
    yield (
        image_of("known-failures", measured["name"]),
        known_failures.figure(rows, threshold),
        [rows, threshold],
    )


def _digest(facts: Any) -> str:
    """Names the facts that an image shows; pixels differ between versions of the plotter."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _described(path: Path) -> str | None:
    try:
        with PIL.Image.open(path) as image:
            return str(image.info.get(FACTS_KEY))
    except OSError:
        return None
