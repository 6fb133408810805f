"""Commands of `faceblur-train` that measure a model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from faceblur.cli.options import SIZE_OPTION, FilePath, threshold_option
from faceblur.cli.progress import ProgressLine
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.errors import InputError, OutputError
from faceblur_export.evaluation import report as report
from faceblur_export.evaluation.acceptance import judge
from faceblur_export.evaluation.damage import FALSE_ALARMS, recall_under_damage
from faceblur_export.evaluation.evaluation import compare
from faceblur_export.evaluation.figures import Ruler, summary
from faceblur_export.evaluation.inference import (
    LetterboxStyle,
    open_detector,
    predict_widerface,
    widerface_images,
)
from faceblur_export.evaluation.matching import match_images, read_labelled
from faceblur_export.evaluation.threshold import MISS_COST, choose_threshold
from faceblur_export.evaluation.widerface import (
    evaluate_widerface,
    load_ground_truth,
    load_predictions,
)
from faceblur_export.progress import Item
from faceblur_training.data.holdout import held_out


def _writable(
    _context: click.Context, _parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Refuse a place for the result before minutes of work, not after."""
    if path is not None and not path.absolute().parent.is_dir():
        raise OutputError(f"cannot write {path}: the folder {path.parent} does not exist")
    return path


model_option = click.option(
    "--model",
    default=BUNDLED_MODEL,
    show_default=True,
    help="Name of a model, an ONNX file, or a .pt checkpoint.",
)
letterbox_option = click.option(
    "--letterbox",
    "style",
    type=click.Choice(["canonical", "rectangular"]),
    default="canonical",
    show_default=True,
    help="Fit images as the client does, or as the reference did for its published figures.",
)
json_option = click.option(
    "--json", "json_path", type=FilePath, callback=_writable, help="Write the figures here."
)
data_option = click.option(
    "--data", type=FilePath, required=True, help="Folder of labelled images."
)


@click.command()
@click.option("--predictions", type=FilePath, help="NPZ file, or folder of a submission.")
@click.option("--model", help="Name of a model, an ONNX file, or a .pt checkpoint.")
@click.option("--images", type=FilePath, help="The images folder of WIDER_val, for --model.")
@click.option(
    "--ground-truth", type=FilePath, required=True, help="Folder of the four wider_*_val.mat."
)
@SIZE_OPTION
@letterbox_option
@json_option
def widerface(
    *,
    predictions: Path | None,
    model: str | None,
    images: Path | None,
    ground_truth: Path,
    size: int,
    style: LetterboxStyle,
    json_path: Path | None,
) -> None:
    """Average precision on WIDER FACE, easy, medium and hard, by the official protocol."""
    if (predictions is None) == (model is None) or (model is None) != (images is None):
        raise InputError("give either --predictions, or both --model and --images")
    truth = load_ground_truth(ground_truth)
    if predictions is not None:
        found = load_predictions(predictions)
    else:
        files = widerface_images(Path(str(images)), list(truth.boxes))
        with open_detector(str(model)) as detector:
            found = predict_widerface(detector, files, size=size, style=style, progress=_shown)
    result = evaluate_widerface(found, truth)
    for difficulty, value in result.items():
        click.echo(f"{difficulty:<7}{value:.4f}")
    if json_path:
        report.write_json(json_path, result)


@click.command("evaluate")
@data_option
@model_option
@SIZE_OPTION
@letterbox_option
@threshold_option()
@click.option("--compare", "other", help="Another model to measure beside it.")
@json_option
def evaluate_command(
    *,
    data: Path,
    model: str,
    size: int,
    style: LetterboxStyle,
    threshold: float,
    other: str | None,
    json_path: Path | None,
) -> None:
    """AP50, and precision and recall by face height, of a model on labelled images.

    With --json FILE, a curve (FILE-curve.png) and the worst misses (FILE-misses.png) lie beside it.
    """
    ruler = Ruler(size=size, style=style, threshold=threshold, progress=_shown)
    content, findings = ruler.measure(data, model)
    models = [(content["model"], findings, content)]
    if other:
        content_other, findings_other = ruler.measure(data, other)
        difference = compare(findings, findings_other, threshold=threshold)
        models.append((content_other["model"], findings_other, content_other))
        content = {**content, "compare": {**content_other, **difference}}
    for line in (line for *_, one in models for line in summary(one)):
        click.echo(line)
    if json_path:
        figure = report.curve_figure(models)
        report.write_figure(json_path.with_name(f"{json_path.stem}-curve.png"), figure)
        misses = json_path.with_name(f"{json_path.stem}-misses.png")
        report.write_misses(misses, findings, threshold=threshold)
        report.write_json(json_path, content)


@click.command("compare")
@click.argument("candidate")
@click.argument("other")
@click.option(
    "--data",
    "requirements",
    type=(FilePath, click.FloatRange(0, min_open=True)),
    multiple=True,
    required=True,
    metavar="DIR RATIO",
    help="Labelled images, and the share of the other's AP50 that is asked for. Repeatable.",
)
@SIZE_OPTION
@threshold_option()
@json_option
@click.pass_context
def compare_command(
    context: click.Context,
    *,
    candidate: str,
    other: str,
    requirements: Sequence[tuple[Path, float]],
    size: int,
    threshold: float,
    json_path: Path | None,
) -> None:
    """Judge whether CANDIDATE may replace OTHER; exit code 1 when it misses a requirement."""
    ruler = Ruler(size=size, style="canonical", threshold=threshold, progress=_shown)
    verdicts = []
    contents = {}
    for data, ratio in requirements:
        content, findings = ruler.measure(data, candidate)
        content_other, matches_other = ruler.measure(data, other)
        difference = compare(findings, matches_other, threshold=threshold)
        contents[content["data"]] = {**content, "compare": {**content_other, **difference}}
        verdicts += judge(content["data"], difference, ap50_ratio=ratio)
        for line in (*summary(content), *summary(content_other)):
            click.echo(line)
    for verdict in verdicts:
        click.echo(str(verdict))
    if json_path:
        judged = [dataclasses.asdict(verdict) for verdict in verdicts]
        report.write_json(json_path, {"verdicts": judged, "data": contents})
    context.exit(0 if all(verdict.met for verdict in verdicts) else 1)


@click.command("damage")
@click.argument("models", nargs=-1, required=True)
@data_option
@click.option(
    "--false-alarms",
    type=click.FloatRange(0, min_open=True),
    default=FALSE_ALARMS,
    show_default=True,
    help="Per undamaged image; the threshold of each model follows.",
)
@json_option
def damage_command(
    *, models: Sequence[str], data: Path, false_alarms: float, json_path: Path | None
) -> None:
    """Recall of MODELS under noise, dark, fog, blur and low contrast, at equal false alarms.

    A model is a name, a file, or NAME=FILE to be called so.
    """
    with contextlib.ExitStack() as stack:
        detectors = {
            name if file else Path(name).name: stack.enter_context(open_detector(file or name))
            for name, _, file in (model.partition("=") for model in models)
        }
        found = recall_under_damage(
            detectors, read_labelled(data), false_alarms=false_alarms, progress=_shown
        )
    for row in found["rows"]:
        recalls = (f"{name} {value:.3f}" for name, value in row["recall"].items())
        click.echo(f"{row['name']:<34}{', '.join(recalls)}")
    if json_path:
        report.write_json(json_path, {"data": f"{data.parent.name}/{data.name}", **found})


@click.command("threshold")
@data_option
@model_option
@SIZE_OPTION
@click.option(
    "--held-out", "only_held_out", is_flag=True, help="Only the images training leaves out."
)
@click.option(
    "--miss-cost",
    type=click.FloatRange(0, min_open=True),
    default=MISS_COST,
    show_default=True,
    help="How many extra blurs one missed face is worth.",
)
@json_option
def threshold_command(
    *,
    data: Path,
    model: str,
    size: int,
    only_held_out: bool,
    miss_cost: float,
    json_path: Path | None,
) -> None:
    """The threshold that the default follows from: the lowest of those that cost the least."""
    images = read_labelled(data)
    if only_held_out:
        images = held_out(images)
    with open_detector(model) as detector:
        findings = match_images(detector, images, size=size, progress=_shown)
    choice = choose_threshold(findings, miss_cost=miss_cost)
    click.echo(
        f"threshold {choice.threshold:.2f}, the lowest within a standard error of the cheapest, "
        f"{choice.cheapest:.2f} (95 %: {choice.low:.2f} to {choice.high:.2f}); "
        f"{choice.missed} of {choice.faces} faces missed, {choice.extras} extra, "
        f"{choice.pictures} images"
    )
    if json_path:
        report.write_json(json_path, {**dataclasses.asdict(choice), "miss_cost": miss_cost})


def _shown(items: Sequence[Item]) -> Iterator[Item]:
    return ProgressLine("images").items(items)
