"""How far a run on a cluster is, and what it has done."""

from __future__ import annotations

import logging
import time
from typing import Final

from faceblur.batch.jobs import AnyJob
from faceblur.cli.progress import ProgressLine
from faceblur.cli.summary import Failures, count, kept
from faceblur.cluster.run import Standing
from faceblur.cluster.worker import FileResult
from faceblur.detection.detector import ModelInfo
from faceblur.detections import MediaDetections

logger = logging.getLogger(__name__)

_TOLD_S: Final = 60.0
"""How often the standing is written where nobody sees a bar."""


class StandingLine:
    """Shows how far a run is, with the time left."""

    def __init__(self, line: ProgressLine, *, quiet: bool) -> None:
        self._line = line
        self._quiet = quiet
        self.started = self._told = time.monotonic()
        self.workers = 0

    def show(self, standing: Standing) -> None:
        """Show it, and write it now and then where there is no terminal."""
        self.workers = max(self.workers, standing.workers)
        now = time.monotonic()
        text = standing_text(standing, now - self.started)
        self._line.file_done(text, done=standing.files)
        if not self._quiet and not self._line.is_shown and now - self._told >= _TOLD_S:
            self._told = now
            self._line.echo(f"{standing.files} of {standing.of_files} files, {text}")


def standing_text(standing: Standing, elapsed_s: float) -> str:
    """How far a run is by size, how fast it is, and how long it will take."""
    done, whole = standing.size / 1e9, standing.of_size / 1e9
    text = f"{done:.1f} of {whole:.1f} GB, {count(standing.workers, 'worker')}"
    if done <= 0 or elapsed_s <= 0:
        return text
    left_s = (whole - done) / done * elapsed_s
    hours, minutes = divmod(round(left_s / 60), 60)
    left = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return f"{text}, {done / elapsed_s * 3600:.3g} GB/h, {left} left"


class Tally:
    """What happened to all files."""

    def __init__(self, line: ProgressLine) -> None:
        self._results: dict[AnyJob, FileResult] = {}
        self._failures = Failures(line)
        self.failed = 0

    def add(self, job: AnyJob, result: FileResult) -> None:
        """Count one; say why it failed, unless others have for that reason."""
        self._results[job] = result
        if result.failure is None:
            what = "was finished" if result.skipped else f"masked in {result.elapsed_s:.1f} s"
            logger.info("%s: %s", job.source, what)
            return
        self.failed += 1
        self._failures.tell(job, result.failure.reason)

    def end(self) -> None:
        """Name the files that failed for a reason that was told before."""
        self._failures.end()

    def report(self, job: AnyJob) -> MediaDetections | None:
        """The faces of a file, if it was masked and they were asked for."""
        return self._results[job].report

    @property
    def model(self) -> ModelInfo | None:
        """What found the faces."""
        models = (result.model for result in self._results.values())
        return next((model for model in models if model is not None), None)

    def summary(self, standing: StandingLine) -> str:
        """All in one line."""
        results = self._results.values()
        done = [r for r in results if r.failure is None and not r.skipped]
        skipped = sum(r.skipped for r in results)
        faces, frames = sum(r.faces for r in done), sum(r.frames for r in done)
        elapsed_s = time.monotonic() - standing.started
        text = (
            f"{count(len(done), 'file')}: {count(faces, 'face')} masked in "
            f"{count(frames, 'frame')}, {elapsed_s:.1f} s ({count(standing.workers, 'worker')})"
        )
        text += "".join(kept(r.report) for r in done if r.report is not None and r.report.kept)
        if noted := sum(bool(r.notes) for r in done):
            text += f"; look at {count(noted, 'file')}, see the warnings of the workers"
        if lacking := sum(bool(r.lacking) for r in done):
            text += f"; sound or subtitles left out of {count(lacking, 'file')}"
        text += f"; {count(skipped, 'file')} skipped" if skipped else ""
        return text + (f"; {count(self.failed, 'file')} failed" if self.failed else "")
