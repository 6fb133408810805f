"""The words and tables of the model card, from the record of the bundled model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from faceblur.errors import InputError
from faceblur_export.evaluation.known_failures import describe
from faceblur_export.evaluation.report import bin_name

RECALL_PICTURE: Final = PurePosixPath("images/recall-by-height.png")
FAILURES_PICTURE: Final = PurePosixPath("images/known-failures.png")
"""Pictures of the card, beside it."""

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
    sections = (
        _head, _use, _data, _training, _figures, _threshold, _ceiling, _failures, _published,
    )  # fmt: skip
    unsaid = sorted(key for key, value in record["about"].items() if not value)
    if unsaid:
        raise InputError(f"the record of the bundled model does not say {', '.join(unsaid)}")
    try:
        parts = ["\n".join(section(record)) for section in sections]
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"the record of the bundled model lacks {error}; run: faceblur-train measure-bundled"
        ) from error
    return "\n\n".join(parts) + "\n"


def _head(record: Mapping[str, Any]) -> Iterator[str]:
    measured, about = record["measured"], record["about"]
    yield "# Model card: the bundled face detector"
    yield ""
    yield "Written by `faceblur-train model-card` from `bundled_model.json`; do not edit by hand."
    yield ""
    yield from _table(
        ("", ""),
        [
            ("Network", f"YOLOv5-face, variant {measured['variant']} (arXiv 2105.12931)"),
            ("File", "`model_repository/yolov5_face/1/model.onnx`"),
            ("SHA-256", f"`{measured['sha256']}`"),
            ("Size", f"{measured['bytes'] / 1e6:.1f} MB, {measured['precision'].upper()}"),
            ("Licence of the weights", measured["licence"]),
            ("Finds", "faces: a box, a score and five landmarks each"),
            ("Shipped threshold", f"{measured['threshold']:g}"),
        ],
    )
    yield ""
    yield f"Why this variant: {about['variant_reason']}"


def _use(_record: Mapping[str, Any]) -> Iterator[str]:
    yield "## What it is for, and what it must not be used for"
    yield ""
    yield "It finds faces so that they can be masked before pictures are kept, shown or passed on."
    yield ""
    yield "It must not be used"
    yield ""
    yield "- to recognise, identify, count, follow or profile people, or as a step towards that;"
    yield "- as the only safeguard where a single missed face does harm: it misses some, as shown"
    yield "  below, so a person must look at what is published;"
    yield "- as proof that a picture holds no person: clothes, gait, voices, tattoos, name tags and"
    yield "  the backs of heads are not masked and can identify people too;"
    yield "- for decisions about people, access control or safety functions."
    yield ""
    yield "Nobody has measured how its errors differ between skin colours, ages, sexes or head"
    yield "coverings: the evaluation sets do not say who is shown. Assume that they differ, and"
    yield "measure on pictures of your own place with `faceblur-train evaluate`."


def _data(record: Mapping[str, Any]) -> Iterator[str]:
    yield "## Data"
    yield ""
    rows = [
        (
            f"`{row['folder']}`",
            row["use"],
            f"{row['pictures']:,}",
            f"{row['faces']:,}" if row["labelled"] else "no labels",
            row["what"],
            row["licence"],
        )
        for row in record["data"]
    ]
    yield from _table(("folder", "use", "pictures", "labelled faces", "what", "licence"), rows)
    yield ""
    yield "Pictures are not part of this repository. Those for evaluation were neither trained on"
    yield "nor used to choose anything."


def _training(record: Mapping[str, Any]) -> Iterator[str]:
    about = record["about"]
    yield "## How it was trained"
    yield ""
    for line in about["recipe"]:
        yield f"- {line}"
    yield f"- Hardware: {about['hardware']}; {about['hours']:g} hours."
    yield f"- Samples seen: {about['samples']:,}."
    yield ""
    yield from _code(about["commands"])


def _figures(record: Mapping[str, Any]) -> Iterator[str]:
    measured = record["measured"]
    other = measured["other"]["name"]
    yield "## Figures"
    yield ""
    yield f"Measured side by side with the official {other} (SHA-256"
    yield f"`{measured['other']['sha256'][:16]}…` as exported here), longest side"
    yield f"{measured['size']}, pictures fitted as the client does. In brackets: 95 % bootstrap"
    yield "intervals over pictures, paired for differences. Every label is a face, however small;"
    yield "a detection matches at IoU ≥ 0.5. Recall and precision are at the shipped threshold"
    yield f"of {measured['threshold']:g} for both models."
    for figures in measured["figures"]:
        yield ""
        yield from _data_set(figures, other)
    yield ""
    yield f"![Recall by face height, both models]({RECALL_PICTURE})"
    yield ""
    yield "The same figures again, where `DATA` holds the folders named above and `OFFICIAL` is the"
    yield "official model (a name after `faceblur-export weights pull`, or a file):"
    yield ""
    bars = " ".join(f"--data DATA/{bar['data']} {bar['ap50_ratio']:g}" for bar in record["bar"])
    yield from _code(
        [
            f"faceblur-train compare bundled OFFICIAL {bars}",
            *(
                f"faceblur-train evaluate --data DATA/{bar['data']} --json figures.json"
                for bar in record["bar"]
            ),
        ]
    )


def _data_set(figures: Mapping[str, Any], other: str) -> Iterator[str]:
    ours, theirs = figures["bundled"], figures["other"]
    yield f"### `{figures['data']}`: {ours['images']} pictures, {ours['faces']:,} faces"
    yield ""
    rows = [
        ("AP50", _rate(ours, "ap50"), _rate(theirs, "ap50")),
        ("recall, all faces", _rate(ours, "recall"), _rate(theirs, "recall")),
        (
            f"recall, {ours['faces_identifiable']} faces ≥ 24 px in the picture",
            _rate(ours, "recall_identifiable"),
            _rate(theirs, "recall_identifiable"),
        ),
        ("precision", _rate(ours, "precision"), _rate(theirs, "precision")),
    ]
    yield from _table(("", "bundled", f"official {other}"), rows)
    yield ""
    heights = [
        (
            f"{bin_name(row)} px",
            str(row["faces"]),
            _rate(row, "recall"),
            _rate(row, "precision"),
            _rate(their_row, "recall"),
            _rate(their_row, "precision"),
        )
        for row, their_row in zip(ours["by_height"], theirs["by_height"], strict=True)
    ]
    names = ("recall", "precision", "official recall", "official precision")
    yield from _table(("face height to the network", "faces", *names), heights)
    yield ""
    for verdict in figures["verdicts"]:
        outcome = "met" if verdict["met"] else "**missed**"
        yield f"- Asked: {verdict['asked']}. Measured: {verdict['measured']}: {outcome}."


def _threshold(record: Mapping[str, Any]) -> Iterator[str]:
    choice = record["measured"]["threshold_choice"]
    shipped = record["measured"]["threshold"]
    yield "## The threshold"
    yield ""
    yield f"One missed face counts as much as {choice['miss_cost']:g} extra blurs: a spot is masked"
    yield f"unless it is less likely than 1 in {choice['miss_cost'] + 1:g} to be a face. On"
    yield f"{choice['pictures']} held-out training pictures with {choice['faces']} faces of 16 px"
    yield f"and more {choice['cheapest']:g} costs the least (95 %: {choice['low']:g} to"
    yield f"{choice['high']:g}). So flat is the cost around it that chance decides; the lowest"
    yield f"threshold whose cost is within one standard error of that is {choice['threshold']:g},"
    yield f"with {choice['missed']} faces missed and {choice['extras']} extra blurs; {shipped:g} is"
    yield "shipped. Until this rule the cheapest was; it was changed when the evaluation showed"
    yield "faces missed that the official model found. Its pictures had no part in what it gives."
    yield ""
    yield from _code(["faceblur-train threshold --held-out --data DATA/train"])


def _ceiling(record: Mapping[str, Any]) -> Iterator[str]:
    yield "## Cameras on the ceiling"
    yield ""
    yield from record["about"]["ceiling"]
    seen = record["measured"]["ceiling"]
    if seen:
        yield ""
        rows = [
            (name, str(found["frames_with_detections"]), str(found["detections"]))
            for name, found in seen["found"].items()
        ]
        yield f"Of {seen['frames']} frames of a camera that looks straight down:"
        yield ""
        yield from _table(("model", "frames with a detection", "detections"), rows)


def _failures(record: Mapping[str, Any]) -> Iterator[str]:
    measured = record["measured"]
    yield "## Known failures"
    yield ""
    yield "One portrait (NASA, public domain) in a 640 × 384 frame, made hard to see in steps, and"
    yield "what the bundled model makes of it at the shipped threshold. A single face shows where"
    yield "the limits lie, not how often they are met."
    yield ""
    yield f"![Known failures]({FAILURES_PICTURE})"
    yield ""
    rows = [(row["name"], describe(row, measured["threshold"])) for row in measured["failures"]]
    yield from _table(("condition", "outcome"), rows)


def _published(_record: Mapping[str, Any]) -> Iterator[str]:
    yield "## Official models, as published"
    yield ""
    yield "Average precision on WIDER FACE validation in percent, longest side 640, as YOLOv5-face"
    yield "publishes it. **Published by its authors; not measured again here**, and not comparable"
    yield "with the figures above, which are of other pictures."
    yield ""
    rows = [(name, *(f"{value:.2f}" for value in values)) for name, *values in PUBLISHED]
    yield from _table(("variant", "easy", "medium", "hard"), rows)
    yield ""
    yield "With the data set at hand:"
    yield ""
    yield from _code(
        [
            "faceblur-train widerface --model NAME --images WIDER_val/images "
            "--ground-truth eval_tools/ground_truth --letterbox rectangular"
        ]
    )


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _code(lines: list[str]) -> Iterator[str]:
    yield "```sh"
    yield from lines
    yield "```"


def _rate(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    return f"{row[name]:.3f} ({row[f'{name}_low']:.3f}–{row[f'{name}_high']:.3f})"
