"""The `faceblur-train` command."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from faceblur.cli.base import FaceblurGroup
from faceblur.cli.options import FilePath
from faceblur.errors import InputError
from faceblur_export.network import VARIANTS
from faceblur_export.weights.checkpoint import load_model
from faceblur_training.cli import evaluate as evaluate_cli
from faceblur_training.cli import model_card as model_card_cli
from faceblur_training.data.check import check as check_data
from faceblur_training.data.pack import Pack
from faceblur_training.data.shards import write_shards
from faceblur_training.loop import preparation
from faceblur_training.loop.overrides import override
from faceblur_training.loop.recipe import Shape, settings_for
from faceblur_training.loop.release import checkpoint_named, release
from faceblur_training.loop.run import TrainingRun, networks, prolonged
from faceblur_training.loop.run_plan import RunPlan
from faceblur_training.loop.schedule import ENDLESS
from faceblur_training.loop.teacher_labels import View

positive = click.IntRange(min=1)


class Checkpoint(click.ParamType[Path]):
    """The path of a checkpoint, or `bundled` or `fast`."""

    name = "CHECKPOINT"

    def convert(
        self, value: str | Path, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> Path:
        """Make it a path."""
        return checkpoint_named(Path(value))


set_option = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one setting, e.g. batch=8, seed=1, schedule.rate=0.0005, sides=[512,640] or "
    "augment.jpeg=0.3; repeatable. A run's run.json lists them all.",
)
until_option = click.option(
    "--until", type=positive, help="Stop (and save) when so many steps are done."
)


@click.group(cls=FaceblurGroup)
@click.version_option(package_name="faceblur-triton", prog_name="faceblur-train")
def main() -> None:
    """Train YOLOv5-face on your own faces, and measure it."""


@main.command()
@click.argument("data", type=FilePath)
@click.option("--sheet", type=FilePath, help="Draw a sheet of samples here (PNG).")
@click.option(
    "--against",
    type=FilePath,
    multiple=True,
    help="Folder of images that are kept for evaluation: name copies of them in DATA. Repeatable.",
)
def check(data: Path, *, sheet: Path | None, against: tuple[Path, ...]) -> None:
    """Count the images and faces of DATA and name what cannot be used."""
    lines, problems = check_data(data, sheet=sheet, against=against)
    for line in lines:
        click.echo(line)
    if problems:
        raise InputError(f"{len(problems)} images or labels of {data} cannot be used")


@main.command()
@click.argument("data", type=FilePath)
@click.option("--out", type=FilePath, required=True, help="Folder of the prepared data.")
@click.option(
    "--side",
    type=click.IntRange(64, 4096),
    default=640,
    show_default=True,
    help="Longest side that is kept, pixels.",
)
@click.option(
    "--teacher",
    type=Checkpoint(),
    help="Model that labels what nobody labelled: a checkpoint, `bundled` or `fast`.",
)
@click.option(
    "--views",
    default="640,640m,1152,1152",
    show_default=True,
    help="Passes of the teacher that are merged: longest side in pixels, m for mirrored; what "
    "comes twice counts twice. Images of up to 300 px are enlarged to 448.",
)
@click.option(
    "--leave-out",
    type=FilePath,
    multiple=True,
    help="Text file of images of DATA to leave out, one a line; or a folder of images for "
    "evaluation, of which copies are left out. Repeatable.",
)
def pack(
    data: Path,
    *,
    out: Path,
    side: int,
    teacher: Path | None,
    views: str,
    leave_out: tuple[Path, ...],
) -> None:
    """Decode DATA once, so that several runs can share it."""
    found = [re.fullmatch(r"(\d{1,4})(m?)", part) for part in views.split(",")]
    passes = [View(int(each[1]), mirrored=bool(each[2])) for each in found if each]
    if len(passes) < len(found) or not all(64 <= each.side <= 8192 for each in passes):
        raise InputError(f"--views {views}: expected sizes like 640,640m, of 64 to 8192 pixels")
    made = preparation.prepare(
        data, out, side=side, teacher=teacher, views=passes, leave_out=leave_out, say=_say
    )
    click.echo(f"{out}: {len(made)} images, {sum(len(e.faces) for e in made.entries())} faces")


@main.command()
@click.argument("prepared", type=FilePath)
@click.option("--out", type=FilePath, required=True, help="Folder of the parts.")
@click.option("--side", type=click.IntRange(64, 4096), default=520, show_default=True)
@click.option("--quality", type=click.IntRange(1, 100), default=70, show_default=True)
@click.option(
    "--part-mb", type=positive, default=48, show_default=True, help="Most that a part may hold."
)
def bundle(prepared: Path, *, out: Path, side: int, quality: int, part_mb: int) -> None:
    """Squeeze PREPARED data into a few small files, to `pack` them on another machine."""
    size = part_mb * 1_000_000
    for part in write_shards(Pack(prepared), out, side=side, quality=quality, part_bytes=size):
        click.echo(f"{part}: {part.stat().st_size / 1e6:.1f} MB")


@main.command("release")
@click.argument("checkpoint", type=FilePath)
@model_card_cli.name_option
@click.option(
    "--shift",
    type=float,
    default=0.0,
    show_default=True,
    help="Added to every objectness before the sigmoid, so that `threshold --held-out` gives the "
    "same threshold for both models.",
)
def release_command(checkpoint: Path, *, name: str, shift: float) -> None:
    """Make CHECKPOINT a model that comes with this checkout."""
    click.echo(f"the {name} model is now {release(checkpoint, name=name, shift=shift)}")


@main.command()
@click.argument("data", type=FilePath)
@click.option("--out", type=FilePath, required=True, help="Folder of the run.")
@click.option(
    "--variant",
    type=click.Choice(list(VARIANTS)),
    show_default="that of --weights, else yolov5n-0.5",
    help="The network, from small and fast to large; a 6 at the end is for images of 1280 px.",
)
@click.option(
    "--weights",
    type=Checkpoint(),
    help="Start from this checkpoint (official, or of a run), `bundled` or `fast`. [from scratch]",
)
@click.option(
    "--teacher",
    type=Checkpoint(),
    help="Imitate this model, `bundled` or `fast`, as well; images without labels count too.",
)
@click.option(
    "--steps",
    type=positive,
    help="Length, in batches of 16 samples (--set batch=…). [10000]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Length by the clock instead: as many steps as fit, the last 45 % with a falling rate.",
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "wsd"]),
    default="cosine",
    show_default=True,
    help="How the learning rate goes. wsd is level with a decay at the end: `resume` can prolong "
    "it at any time.",
)
@set_option
@until_option
def train(
    data: Path,
    *,
    out: Path,
    variant: str | None,
    weights: Path | None,
    teacher: Path | None,
    steps: int | None,
    minutes: float | None,
    schedule: Shape,
    assignments: tuple[str, ...],
    until: int | None,
) -> None:
    """Train on DATA: labelled images, any images with a teacher, or both.

    Runs on a CUDA GPU where there is one, else on the CPU. Ctrl-C saves and ends; `resume` goes on.
    """
    if (out / "last.pt").exists():
        raise InputError(f"{out} holds a run; continue it with faceblur-train resume {out}")
    if steps and minutes:
        raise InputError("give --steps or --minutes, not both")
    settings = settings_for(
        variant or (load_model(weights)[1] if weights else "yolov5n-0.5"),
        steps=ENDLESS if minutes else steps or 10000,
        minutes=minutes or 0.0,
        taught=teacher is not None,
        fresh=weights is None,
        shape=schedule,
    )
    settings = override(settings, assignments)
    # Before the images are decoded, which may take long.
    networks(settings, weights=weights, teacher=teacher)
    packed = preparation.pack_for(data, out, teacher=teacher, say=_say)
    plan = RunPlan(settings, packed, teacher, weights, Pack(packed).left_out).absolute()
    _train(TrainingRun(out, plan, say=_say), until)


@main.command()
@click.argument("run", type=FilePath)
@click.option(
    "--from",
    "source",
    type=FilePath,
    help="Checkpoint to go on from, e.g. stable.pt of a wsd run. [last.pt of the run]",
)
@click.option("--steps", type=positive, help="New length of the run.")
@click.option("--decay", type=click.IntRange(min=0), help="New length of the decay at its end.")
@set_option
@until_option
def resume(
    run: Path,
    *,
    source: Path | None,
    steps: int | None,
    decay: int | None,
    assignments: tuple[str, ...],
    until: int | None,
) -> None:
    """Continue the training in folder RUN exactly where its last checkpoint was written."""
    plan = prolonged(RunPlan.read(run), steps=steps, decay=decay)
    plan = override(plan, [f"settings.{text}" for text in assignments])
    _train(TrainingRun(run, plan, resume=source or run / "last.pt", say=_say), until)


def _train(run: TrainingRun, until: int | None) -> None:
    try:
        outcome = run.train(until=until)
    finally:
        run.close()
    click.echo(f"{run.folder / 'last.pt'}: {outcome.step} steps")
    sys.exit(outcome.signal_exit_code)


def _say(line: str) -> None:
    click.echo(line, err=True)


for command in (
    evaluate_cli.evaluate_command,
    evaluate_cli.widerface,
    evaluate_cli.compare_command,
    evaluate_cli.threshold_command,
    evaluate_cli.damage_command,
    model_card_cli.model_card,
    model_card_cli.measure_bundled,
):
    main.add_command(command)
