"""What came out for a file: each result with what its check found, and the way back to the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from faceblur.batch.private_folder import remove
from faceblur.detections import MediaDetections
from faceblur.proof.verify.report import Region, VerifyReport
from faceblur.web.jobs.edits import Edits

_MOST_TIMES: Final = 5


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the check of a result found.

    Attributes:
        result: clean, leaks: a face may show, or unsure: it could not be told.
        leaks: Places in which a face may show that nobody has chosen to keep visible.
        leak_times_s: When, the first of them.
        problems: Why it could not be told, a sentence each.
    """

    result: Literal["clean", "leaks", "unsure"]
    leaks: int = 0
    leak_times_s: tuple[float, ...] = ()
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: VerifyReport) -> Verdict:
        """What a report says, for the page."""
        results: tuple[Literal["clean"], Literal["leaks"], Literal["unsure"]]
        results = "clean", "leaks", "unsure"
        times = sorted({round(float(leak.time_s), 2) for leak in report.leaks})
        return cls(
            result=results[report.exit_code],
            leaks=len(report.leaks),
            leak_times_s=tuple(times[:_MOST_TIMES]),
            problems=tuple(report.problems),
        )

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "result": self.result,
            "leaks": self.leaks,
            "leak_times_s": list(self.leak_times_s),
            "problems": list(self.problems),
        }


@dataclass(frozen=True, kw_only=True)
class Result:
    """A masked file that is whole and checked.

    Attributes:
        number: Of the results of its file, from 1 on.
        record: Its folder; see `faceblur.web.jobs.records`.
        faces: Covered faces that were found: of a video, tracks.
        drawn: What somebody drew, each over all of its time.
        report: What was covered in it, frame by frame, and what was left out.
        leaks: Where a face may show, frame by frame, as the check found it.
        edits: What somebody wanted of it.
        notes: What somebody should look at: what became of corrections, and what was warned of
            while it was masked; a sentence each.
        seen_frames: In how many frames one of them is visible, counted for each.
        kept_frames: How many frames they are in, counted for each: in the others it is not
            certain that it is them, so they are covered.
        seen_s: When one of them is visible first, seconds from the start; None if never.
    """

    number: int
    output: Path
    record: Path
    faces: int
    drawn: int = 0
    frames: int
    verdict: Verdict
    report: MediaDetections
    leaks: tuple[Region, ...] = ()
    edits: Edits = field(default_factory=Edits)
    notes: tuple[str, ...] = ()
    seen_frames: int = 0
    kept_frames: int = 0
    seen_s: float | None = None

    def delete(self) -> None:
        """Delete it, with its record."""
        self.output.unlink(missing_ok=True)
        remove(self.record)

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "version": self.number,
            "faces": self.faces,
            "drawn": self.drawn,
            "frames": self.frames,
            "verdict": self.verdict.to_json(),
            "edits": self.edits.to_json(),
            "notes": list(self.notes),
            "seen_frames": self.seen_frames,
            "kept_frames": self.kept_frames,
            "seen_s": self.seen_s,
        }


class History:
    """The results of one file in the order in which somebody wanted them; one of them counts."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._at = -1
        self.count = 0

    @property
    def current(self) -> Result | None:
        """The one that counts; None where there is none."""
        return self._results[self._at] if self._results else None

    @property
    def has_earlier(self) -> bool:
        """Whether there is one to go back to."""
        return self._at > 0

    @property
    def has_later(self) -> bool:
        """Whether there is one that was gone back from."""
        return self._at < len(self._results) - 1

    def next_number(self) -> int:
        """Number a result that is about to be made."""
        self.count += 1
        return self.count

    def find(self, edits: Edits) -> Result | None:
        """The result that was made from these wishes."""
        return next((result for result in self._results if result.edits == edits), None)

    def add(self, result: Result) -> None:
        """Let a result count; those that were gone back from are deleted."""
        gone = self._results[self._at + 1 :]
        self._results = [*self._results[: self._at + 1], result]
        self._at += 1
        for old in gone:
            if all(old is not each for each in self._results):
                old.delete()

    def step(self, by: int) -> bool:
        """Go back or on; False if there is nothing."""
        if not 0 <= self._at + by < len(self._results):
            return False
        self._at += by
        return True
