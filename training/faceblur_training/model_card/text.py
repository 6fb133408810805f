"""The words and tables of a model card, from the record of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import jinja2

from faceblur.detection.repository import BUNDLED_MODEL, SHIPPED
from faceblur.errors import InputError
from faceblur_export.evaluation.known_failures import describe
from faceblur_export.evaluation.report import bin_name

TEMPLATE: Final = "card.md.j2"


def image_of(kind: str, name: str) -> PurePosixPath:
    """An image of the card of a model, beside it."""
    return PurePosixPath(f"images/{kind}{suffix(name)}.png")


def suffix(name: str) -> str:
    """What tells the files of a model's card from those of the bundled model's."""
    return "" if name == BUNDLED_MODEL else f"-{name}"


PUBLISHED: Final = (
    ("yolov5n-0.5", 90.76, 88.12, 73.82),
    ("yolov5n", 93.61, 91.52, 80.53),
    ("yolov5s", 94.33, 92.61, 83.15),
    ("yolov5m", 95.30, 93.76, 85.28),
    ("yolov5l", 95.78, 94.30, 86.13),
)
"""Average precision on WIDER FACE validation, easy, medium and hard, as YOLOv5-face publishes it
beside the weights (deepcam-cn/yolov5-face, "Pretrained models", longest side 640)."""


def render(record: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Raises:
        InputError: The record lacks something.
    """
    unsaid = sorted(key for key, value in record["about"].items() if not value)
    if unsaid:
        raise InputError(f"the record of the model does not say {', '.join(unsaid)}")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("faceblur_training", "model_card"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # It is Markdown.
    )
    environment.globals |= {"bin_name": bin_name, "describe": describe}
    try:
        name = record["measured"]["name"]
        return environment.get_template(TEMPLATE).render(
            record=record,
            file=SHIPPED.get(name, "model.onnx"),
            others=[(other, f"model-card{suffix(other)}.md") for other in SHIPPED if other != name],
            published=PUBLISHED,
            damage_rows=_damage_rows(record["measured"]["damage"]),
            recall_image=image_of("recall-by-height", name),
            failures_image=image_of("known-failures", name),
        )
    except (jinja2.UndefinedError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"the record of the model lacks {error}; run: faceblur-train measure-bundled"
        ) from error


def _damage_rows(damage: Mapping[str, Any] | None) -> list[list[str]]:
    """The lines of the table of damages: threshold of each model, then recalls, the best bold."""
    if damage is None:
        return []
    rows = [["threshold", *(f"{value:.2f}" for value in damage["thresholds"].values())]]
    for row in damage["rows"]:
        best = max(row["recall"].values())
        shown = [
            f"**{value:.3f}**" if value == best else f"{value:.3f}"
            for value in row["recall"].values()
        ]
        rows.append([row["name"], *shown])
    return rows
