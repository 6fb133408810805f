"""The words and tables of the model card, from the record of the bundled model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import jinja2

from faceblur.errors import InputError
from faceblur_export.evaluation.known_failures import describe
from faceblur_export.evaluation.report import bin_name

TEMPLATE: Final = "card.md.j2"

RECALL_IMAGE: Final = PurePosixPath("images/recall-by-height.png")
FAILURES_IMAGE: Final = PurePosixPath("images/known-failures.png")
"""Images of the card, beside it."""

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
        raise InputError(f"the record of the bundled model does not say {', '.join(unsaid)}")
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
        return environment.get_template(TEMPLATE).render(
            record=record,
            published=PUBLISHED,
            recall_image=RECALL_IMAGE,
            failures_image=FAILURES_IMAGE,
        )
    except (jinja2.UndefinedError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"the record of the bundled model lacks {error}; run: faceblur-train measure-bundled"
        ) from error
