"""What the cover over time costs: whole videos, blurred with and without it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

import av
import click

from faceblur.batch.faces import DetectedFaces
from faceblur.batch.video import mask_video
from faceblur.detection.models import automatic_model
from faceblur.detection.options import DEFAULT_SIZE, DEFAULT_THRESHOLD
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.masks.policy import Policy
from faceblur.tracking import TrackingOptions
from harness import (
    Contender,
    Row,
    family,
    interleave,
    machine_card,
    save,
    summarise,
    table,
    verdict,
)

MIN_SPEED: Final = 0.9
"""Target: the speed with the cover, as a part of that without."""

EVERY: Final = (1, 3)


@click.command("cover-cost")
@click.argument("clip", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--model", default=automatic_model("video"), show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def cover_cost(*, clip: Path, model: str, rounds: int, output: Path) -> None:
    """Blur CLIP from file to file, as `faceblur blur` does, with and without the cover."""
    with av.open(str(clip)) as container:
        frames = sum(1 for packet in container.demux(video=0) if packet.size)
    card = machine_card() | {"clip": clip.name, "frames": frames, "rounds": rounds}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        session = stack.enter_context(open_session(SessionOptions(model=model)))
        card |= {
            "model": session.model.name,
            "sha256": session.model.sha256,
            "detector": session.kind,
            "size": DEFAULT_SIZE,
            "threshold": DEFAULT_THRESHOLD,
            "cover": asdict(TrackingOptions()),
        }
        ways = {"each frame alone": None} | {
            "cover" if every == 1 else f"cover, detect every {every}": TrackingOptions(
                detect_every=every
            )
            for every in EVERY
        }
        contenders = [
            Contender(
                name,
                _work(clip, folder / f"out{clip.suffix}", session, cover),
                lambda: family(session.server.pid if session.server else None),
            )
            for name, cover in ways.items()
        ]
        samples = interleave(contenders, rounds=rounds)
    rows = summarise(contenders, samples, units=frames)
    save(
        output,
        "cover-cost",
        rows=rows,
        samples=samples,
        card=card,
        unit="frames",
        notes=[_verdict(rows[1])],
    )
    click.echo(table(rows, unit="frames"))


def _work(
    clip: Path, output: Path, session: DetectionSession, cover: TrackingOptions | None
) -> Callable[[], None]:
    policy = Policy(cover=cover)
    find_faces = DetectedFaces(session.detector, policy)

    def once() -> None:
        mask_video(clip, output, find_faces=find_faces, policy=policy)

    return once


def _verdict(cover: Row) -> str:
    met = verdict(cover.speed_ratio >= MIN_SPEED)
    return (
        f"Target, {met}: tracking costs at most {1 - MIN_SPEED:.0%} of the speed. Decoding, "
        "detection, masking, encoding and audio are all included; rounds are interleaved."
    )
