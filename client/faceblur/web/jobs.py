"""One file that somebody dropped, and what becomes of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from faceblur.batch.jobs import MARK
from faceblur.batch.shared_detector import StoppedError
from faceblur.proof.verify.report import VerifyReport
from faceblur.video.kinds import Kind

State = Literal["uploading", "waiting", "masking", "checking", "done", "failed"]
FINAL: Final[frozenset[State]] = frozenset({"done", "failed"})

_MOST_NAME: Final = 120
_MOST_TIMES: Final = 5
_MASKING_SHARE: Final = 0.5
"""Of all the work; the check asks the detector about as often."""

_EARLY: Final = 0.03
"""Before this share is done, nobody can say how long the rest takes."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the check of a result found.

    Attributes:
        result: clean, leaks: a face may show, or unsure: it could not be told.
        leaks: Places in which a face may show.
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


@dataclass(eq=False, kw_only=True)
class WebJob:
    """One file; its fields are changed by the thread that works on it.

    Attributes:
        id: Unguessable; names its folder.
        owner: The session that it belongs to.
        name: What its user calls it; never a path here.
        stop: Set to break it off.
        source: The upload, as long as it is needed.
        output: The masked file, once it is whole and checked.
        fraction: Part of the present stage that is done; None if nobody knows.
        faces: Covered faces: of a video, tracks.
        ended_s: When it came to its end, on the monotonic clock.
    """

    id: str
    owner: str
    name: str
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    kind: Kind = "image"
    state: State = "uploading"
    source: Path | None = None
    output: Path | None = None
    fraction: float | None = 0.0
    faces: int = 0
    frames: int = 0
    verdict: Verdict | None = None
    error: str | None = None
    started_s: float | None = None
    ended_s: float | None = None

    @property
    def result_name(self) -> str:
        """What the result is called when it is saved."""
        suffix = self.output.suffix if self.output is not None else ""
        return f"{PurePosixPath(self.name).stem}{MARK}{suffix}"

    def progress(self) -> float | None:
        """Part of all the work that is done; None if nobody knows."""
        if self.state not in ("masking", "checking"):
            return 1.0 if self.state == "done" else 0.0
        if self.fraction is None:
            return None
        before = _MASKING_SHARE if self.state == "checking" else 0.0
        return before + _MASKING_SHARE * min(1.0, self.fraction)

    def left_s(self) -> float | None:
        """Seconds that the rest will take, estimated; None if nobody knows."""
        done = self.progress()
        if self.started_s is None or done is None or not _EARLY < done < 1:
            return None
        return (time.monotonic() - self.started_s) * (1 - done) / done

    def check_going(self) -> None:
        """Let it go on.

        Raises:
            StoppedError: It was cancelled.
        """
        if self.stop.is_set():
            raise StoppedError("cancelled")

    def start(self) -> None:
        """Begin to be masked."""
        self.started_s = time.monotonic()
        self.state, self.fraction = "masking", 0.0

    def fail(self, sentence: str) -> None:
        """End without a result."""
        self.error = sentence
        self.end("failed")

    def end(self, state: State) -> None:
        """Come to an end."""
        self.ended_s = time.monotonic()
        self.state = state

    def to_json(self) -> dict[str, Any]:
        """What the page may know."""
        left_s = self.left_s()
        progress = self.progress()
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "progress": None if progress is None else round(progress, 3),
            "left_s": None if left_s is None else round(left_s, 1),
            "faces": self.faces,
            "frames": self.frames,
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "error": self.error,
            "result_name": self.result_name if self.state == "done" else None,
        }


def shown_name(name: str) -> str:
    """The last part of what a browser calls a file, without what is not for show."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(char for char in last if char.isprintable()).strip(" .")
    path = PurePosixPath(kept or "file")
    return f"{path.stem[:_MOST_NAME]}{path.suffix[:10]}"
