"""What workers bring to a folder of images: the same files, with one and with several."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from faceblur.batch.jobs import Job, plan
from faceblur.batch.outcome import RunOptions
from faceblur.batch.runner import run
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.session import DetectionSession, SessionOptions, open_session
from faceblur.errors import FaceblurError
from harness import Contender, family, interleave, machine_card, save, summarise, table


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--workers", default="1,2,4", show_default=True, help="The first is the baseline.")
@click.option("--model", default=BUNDLED_MODEL, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def batch(*, folder: Path, workers: str, model: str, rounds: int, output: Path) -> None:
    """Mask all of FOLDER from file to file, as `faceblur blur --again` does."""
    with ExitStack() as stack:
        out = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "out"
        jobs = plan([str(folder)], out)
        session = stack.enter_context(open_session(SessionOptions(model=model)))
        card = machine_card() | {
            "files": len(jobs),
            "megabytes": round(sum(job.source.stat().st_size for job in jobs) / 1e6, 1),
            "rounds": rounds,
            "model": session.model.name,
            "detector": session.kind,
        }
        contenders = [
            Contender(
                f"{count} worker" + "s" * (count > 1),
                _work(jobs, out, session, count),
                lambda: family(session.server.pid if session.server else None),
            )
            for count in map(int, workers.split(","))
        ]
        samples = interleave(contenders, rounds=rounds)
    rows = summarise(contenders, samples, units=len(jobs))
    note = "Reading, detection, masking and writing are all included; rounds are interleaved."
    save(output, "batch", rows=rows, samples=samples, card=card, unit="files", notes=[note])
    click.echo(table(rows, unit="files"))


def _work(
    jobs: list[Job], out: Path, session: DetectionSession, workers: int
) -> Callable[[], None]:
    def once() -> None:
        shutil.rmtree(out, ignore_errors=True)
        for outcome in run(jobs, session, RunOptions(workers=workers)):
            if outcome.error is not None:
                raise FaceblurError(f"{outcome.job.source.name}: {outcome.error}")

    return once
