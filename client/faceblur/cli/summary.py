"""What `faceblur blur` has done: a table of the files, and a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import click

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.jobs import AnyJob, Plan
from faceblur.batch.outcome import Outcome
from faceblur.cli.progress import ProgressLine
from faceblur.cli.table import table
from faceblur.detection.session import DetectionSession
from faceblur.detections import MediaDetections
from faceblur.proof.audit.facts import frames_of_tracks, track_tallies
from faceblur.redaction import names, printable

_MOST_TRACKS: Final = 5
_MOST_NAMES: Final = 3
_TITLES: Final = ("file", "faces", "frames", "seconds", "outcome")


def show(
    outcomes: list[Outcome],
    finder: DetectionSession | AnnotationFile,
    elapsed_s: float,
    *,
    left: str = "",
    last: str | None = None,
) -> None:
    """Print what happened to the files of a run, in their order, and what `left_alone` says."""
    if len(outcomes) > 1:
        rows = [_row(outcome) for outcome in outcomes]
        for line in table(_TITLES, rows, left={"file", "outcome"}):
            click.echo(line)
    click.echo(_summary(outcomes, finder, elapsed_s) + left)
    if last is not None:
        click.echo(last)


class Failures:
    """Tells why files of a batch failed, each reason once."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self._more: dict[str, list[str]] = {}

    def tell(self, job: AnyJob, reason: str) -> None:
        """Say why a file failed, unless others have failed for that reason."""
        if reason in self._more:
            self._more[reason].append(str(job.source))
            return
        self._more[reason] = []
        named = str(job.source) in reason or str(job.output) in reason
        self._line.echo(reason if named else f"{job.source}: {reason}")

    def end(self) -> None:
        """Name the files that failed for a reason that was told before."""
        for reason, others in self._more.items():
            if others:
                self._line.echo(f"{reason}: so too {names(others)}")


def left_alone(found: Plan) -> str:
    """What was found, and is not masked: the end of the last line."""
    text = ""
    if found.earlier:
        # Some by their name alone: whose original it is must see that.
        named = names([place.name for place in found.earlier], most=_MOST_NAMES)
        text = f"; {count(len(found.earlier), 'result')} of earlier runs left alone: {named}"
    return text + (f"; {count(found.others, 'other file')} left alone" if found.others else "")


def _row(outcome: Outcome) -> tuple[str, ...]:
    """What happened to one file. Why it failed was said when it did."""
    name, seconds = printable(outcome.job.source), f"{outcome.elapsed_s:.1f}"
    if outcome.error is not None:
        return name, "-", "-", seconds, "failed"
    what = "masked" if outcome.finished is None else "skipped, was finished"
    return name, str(outcome.faces), str(outcome.frames), seconds, what


def _summary(
    outcomes: list[Outcome], finder: DetectionSession | AnnotationFile, elapsed_s: float
) -> str:
    masked = [outcome for outcome in outcomes if outcome.report is not None]
    skipped = [outcome for outcome in outcomes if outcome.finished is not None]
    what = printable(outcomes[0].job.output) if len(outcomes) == 1 else count(len(masked), "file")
    if len(outcomes) == 1 and skipped:
        return f"{what}: skipped, it was finished; --again masks it again"
    faces, frames = sum(o.faces for o in masked), sum(o.frames for o in masked)
    text = f"{what}: {count(faces, 'face')} masked in {count(frames, 'frame')}, {elapsed_s:.1f} s"
    text += f" ({_source_of_faces(finder)}{_devices(masked)})"
    text += "".join(kept(o.report) for o in outcomes if o.report is not None and o.report.kept)
    text += _left_out([o.report for o in outcomes if o.report is not None])
    text += f"; {count(len(skipped), 'file')} skipped" if skipped else ""
    failed = len(outcomes) - len(masked) - len(skipped)
    return text + (f"; {count(failed, 'file')} failed" if failed else "")


def kept(report: MediaDetections) -> str:
    """Of each track that somebody wants to see, how much of it is."""
    tallies = [tally for tally in track_tallies(report) if tally.id in report.kept]
    named = tallies if len(tallies) <= _MOST_TRACKS else []
    texts = [f"track {t.id} unmasked in {t.unmasked} of {t.masked + t.unmasked}" for t in named]
    shown, masked = (
        sum(counts) for counts in zip(*((t.unmasked, t.masked) for t in tallies), strict=True)
    )
    if not named:
        texts = [f"{len(tallies)} tracks unmasked in {shown} of {shown + masked}"]
    text = f"; {', '.join(texts)} frames"
    covered = sum(frames_of_tracks(report.covered)[tally.id] for tally in tallies)
    if masked > covered:
        text += f", masked in {masked - covered} where somebody else was close or it may be "
        text += "another face"
    if covered:
        text += f", covered in {covered} by what else is masked there"
    return text


def _left_out(reports: Sequence[MediaDetections]) -> str:
    """What is not in the results; of several files only in how many."""
    lacking = [report for report in reports if report.left_out]
    if len(reports) == 1:
        return "".join(f"; {what}" for what in (*reports[0].left_out, *reports[0].notes))
    noted = sum(bool(report.notes) for report in reports)
    text = f"; look at {count(noted, 'file')}, see the warnings" if noted else ""
    if lacking:
        text += f"; sound or subtitles left out of {count(len(lacking), 'file')}"
    return text


def _source_of_faces(finder: DetectionSession | AnnotationFile) -> str:
    if isinstance(finder, AnnotationFile):
        return f"boxes of {finder.path}"
    return f"{finder.model.name} model, {finder.where}"


def _devices(masked: Sequence[Outcome]) -> str:
    """What decoded and encoded where that was not the CPU, and how many if not all."""
    names = Counter(name for o in masked if o.report is not None for name in o.report.devices)
    return "".join(
        f"; {name}" + ("" if number == len(masked) else f" in {count(number, 'file')}")
        for name, number in names.items()
    )


def count(number: int, noun: str) -> str:
    """A number of things, such as 1 file and 2 files."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
