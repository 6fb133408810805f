"""`faceblur attack`: try to recognise masked faces."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from faceblur.cli.options import FilePath, bundle, logging_options, option, session_options
from faceblur.cli.policy_options import policy_options
from faceblur.cli.progress import ProgressLine
from faceblur.cli.sections import sectioned
from faceblur.detection.session import SessionOptions, open_session
from faceblur.errors import InputError
from faceblur.files import check_place
from faceblur.masks.policy import Policy
from faceblur.proof.attack.attack import attack as run_attack
from faceblur.proof.attack.attack import judge
from faceblur.proof.attack.identities import Identity, collect, distinct
from faceblur.proof.attack.masks import BASELINE, Disguise, controls, shipped, study
from faceblur.proof.attack.recognition import DlibRecogniser
from faceblur.proof.attack.report import AttackReport


def _heights(sizes: str) -> list[int]:
    try:
        heights = sorted({int(text) for text in sizes.split(",")})
    except ValueError:
        heights = []
    if not heights or heights[0] < 16 or heights[-1] > 1024:
        raise InputError(
            f"--sizes {sizes}: give face heights of 16 to 1024 pixels, such as 24,48,96"
        )
    return heights


def _disguises(policy: Policy, all_modes: bool, weaker: bool) -> list[Disguise]:
    modes = [policy.mask.mode, *({BASELINE} - {policy.mask.mode})]
    own = shipped(policy.mask) if all_modes else shipped(policy.mask, modes)
    return [*controls(), *own, *(study() if weaker else [])]


attack_options = bundle(
    "disguises_of",
    lambda all_modes, weaker: (all_modes, weaker),
    option("--all-modes", is_flag=True, help="Try every mask, not just --mask."),
    option("--weaker", is_flag=True, help="Try averages of the face too, to compare."),
)


@click.command(cls=sectioned("The attack", "--sizes --people --all-modes --weaker --json"))
@click.argument("images", nargs=-1, required=True, type=FilePath, metavar="IMAGES...")
@option("--sizes", default="24,48,96,192", help="Face heights, pixels.")
@option("--people", type=click.IntRange(10), default=150, help="At most.")
@option("--json", "json_file", type=FilePath, help="Write all figures to this file.")
@attack_options
@policy_options
@session_options
@logging_options
def attack(
    *,
    images: tuple[Path, ...],
    sizes: str,
    people: int,
    json_file: Path | None,
    disguises_of: tuple[bool, bool],
    policy: Policy,
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Measure whether masked faces can still be recognised.

    IMAGES are files and folders of faces that you may use for this; in a folder, each folder
    is one person, and every other face is somebody else. Nothing of them is written.

    Exits with 0 when no mask is recognised beyond chance from clear images, and the default
    one no better than a solid colour from masked images; with 1 otherwise, or when the
    attack is too weak to tell.
    """
    heights = _heights(sizes)
    if json_file is not None:
        check_place(json_file)
    recogniser = DlibRecogniser()
    found, detector = _people(images, policy, session, min_height=heights[0])
    line = ProgressLine(shown=not quiet)
    trials = run_attack(
        distinct(found, recogniser, most=people),
        recogniser,
        _disguises(policy, *disguises_of),
        heights=heights,
        on_progress=lambda done, total: line.update("masks", done=done, total=total),
    )
    line.close()
    _finish(AttackReport(recogniser.name, detector, trials, judge(trials)), json_file, quiet=quiet)


def _people(
    images: Sequence[Path], policy: Policy, session: SessionOptions, *, min_height: float
) -> tuple[list[Identity], str]:
    with open_session(session, size=policy.detection.size) as opened:
        found = collect(
            images,
            opened.detector,
            dataclasses.replace(policy.detection, deadline_s=session.deadline_s),
            min_height=min_height,
        )
        return found, opened.model.name


def _finish(report: AttackReport, json_file: Path | None, *, quiet: bool) -> None:
    if json_file is not None:
        report.write(json_file)
    if not quiet:
        click.echo(report.to_markdown(), nl=False)
    if not report.verdict.passed:
        click.echo(report.summary(), err=True)
        sys.exit(1)
