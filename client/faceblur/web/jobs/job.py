"""One file that somebody dropped, and what becomes of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from faceblur.batch.people import Person
from faceblur.batch.result_names import MARK
from faceblur.batch.shared_detector import StoppedError
from faceblur.detections import MediaDetections
from faceblur.image.stills import Pages
from faceblur.stores.address import Address
from faceblur.video.kinds import Kind
from faceblur.web.jobs.destinations import Delivery, Destination
from faceblur.web.jobs.edits import Edits
from faceblur.web.jobs.frame_cache import FrameCache
from faceblur.web.jobs.results import History, Result

State = Literal["uploading", "waiting", "masking", "checking", "storing", "done", "failed"]
FINAL: Final[frozenset[State]] = frozenset({"done", "failed"})

CANCELLED: Final = "cancelled"
"""Why there is no result, where its user wanted none."""

_MOST_NAME: Final = 180
"""Bytes of a part of a name: systems of files take 255, and results are called longer."""

_MOST_SUFFIX: Final = 16
_MOST_FOLDERS: Final = 16
_MANY_PIXELS: Final = 25_000_000
_MASKING_SHARE: Final = 0.5
"""Of all the work; the check asks the detector about as often."""

_EARLY: Final = 0.03
"""Before this share is done, nobody can say how long the rest takes."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found in a file, for whoever wants something else of it.

    Attributes:
        report: A video with its tracks.
        listed: The same as a file, as --json of the command writes it.
        chooses: Somebody can be chosen to stay visible.
        sounds: There is sound.
        pixel_aspect: Width over height of a pixel of the upright frames, as it is shown.
        pages: Of an image.
    """

    report: MediaDetections
    listed: Path
    chooses: bool = False
    sounds: bool = False
    pixel_aspect: Fraction = Fraction(1)
    pages: Pages = field(default_factory=Pages)

    def size_of(self, index: int) -> tuple[int, int]:
        """Width and height of a frame or page, upright, pixels."""
        return (
            self.pages.sizes[index] if self.pages.sizes else (self.report.width, self.report.height)
        )


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What somebody said of a file when sending it.

    Attributes:
        key: Tells it from all others of its sender, so that it can be sent again; None for none.
        length: In bytes.
        stored: Where it is to be fetched, if it is not sent.
        edits: What is wanted of the first result.
        destination: Where results are written, beside being here.
        webhook: Who is told when it is finished.
    """

    name: str
    length: int = 0
    key: str | None = None
    stored: Address | None = None
    edits: Edits = field(default_factory=Edits)
    destination: Destination | None = None
    webhook: str | None = None


@dataclass(frozen=True, kw_only=True)
class Masked:
    """A file that is masked and whole.

    Attributes:
        number: Of the result that it is or will be.
        seen_s: When somebody who was chosen is visible first; None if never.
    """

    number: int
    output: Path
    seen_s: float | None

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {"version": self.number, "seen_s": self.seen_s}


@dataclass(eq=False, kw_only=True)
class WebJob:
    """One file; its fields are changed by the thread that works on it.

    Attributes:
        id: Unguessable; names its folder.
        owner: The session that it belongs to.
        name: What its user calls it, with the folders that were dropped; never a path here.
        stop: Set to break off what is done with it.
        deleted: Nobody wants it any more: whoever works on it deletes it.
        submission: How it was sent.
        pixels: That are in memory at once: of a frame, a page, or a whole animation.
        sha256: Of the upload, if it has a key; None while it comes.
        source: The upload, as long as it is needed.
        findings: What was found in it, once it was masked.
        people: Its tracks with a view of each, once somebody has asked; unmasked faces.
        looking: Held while the views are made.
        frames: Of the original and of results, as somebody looks at them.
        wanted: What the result that is made, or was made last, is made from.
        results: What came out, whole and checked.
        made: What is masked and whole, while it is checked.
        delivery: Where results are written, and what has become of that.
        fraction: Part of the present stage that is done; None if nobody knows.
        error: Why there is no result.
        notice: Why there is no other result than before.
        ended_s: When it came to its end, on the monotonic clock.
    """

    id: str
    owner: str
    name: str
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    kind: Kind = "image"
    pixels: int = 0
    state: State = "uploading"
    deleted: bool = False
    submission: Submission = field(default_factory=lambda: Submission(name=""))
    sha256: str | None = None
    source: Path | None = None
    findings: Findings | None = None
    people: list[Person] | None = None
    looking: threading.Lock = field(default_factory=threading.Lock)
    frames: FrameCache = field(default_factory=FrameCache)
    wanted: Edits = field(default_factory=Edits)
    results: History = field(default_factory=History)
    made: Masked | None = None
    delivery: Delivery | None = None
    fraction: float | None = 0.0
    error: str | None = None
    notice: str | None = None
    started_s: float | None = None
    ended_s: float | None = None

    @property
    def is_long(self) -> bool:
        """Whether it takes so much work or memory that others would wait for it."""
        return self.kind == "video" or self.pixels > _MANY_PIXELS

    @property
    def result(self) -> Result | None:
        """What may be shown and saved now."""
        return self.results.current if self.state == "done" else None

    @property
    def is_made(self) -> bool:
        """Whether the result that is wanted is there."""
        current = self.results.current
        return current is not None and current.edits == self.wanted

    @property
    def masked(self) -> Masked | None:
        """What may be shown now: a result, or what will be one if its check can be done."""
        result = self.result
        if result is None:
            return self.made
        return Masked(number=result.number, output=result.output, seen_s=result.seen_s)

    @property
    def result_name(self) -> str:
        """What the result is called when it is saved."""
        result = self.result
        return PurePosixPath(self.called("" if result is None else result.output.suffix)).name

    def called(self, suffix: str) -> str:
        """What a result that has this suffix is called, in the folder that it was dropped with."""
        path = PurePosixPath(self.name)
        return str(path.with_name(f"{path.stem}{MARK}{suffix}"))

    def progress(self) -> float | None:
        """Part of all the work that is done; None if nobody knows."""
        if self.state not in ("masking", "checking"):
            return 1.0 if self.state in ("storing", "done") else 0.0
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
            raise StoppedError(CANCELLED)

    def start(self) -> None:
        """Begin to be masked."""
        self.started_s = time.monotonic()
        self.state, self.fraction = "masking", 0.0

    def begin_again(self) -> None:
        """Wait to be masked once more, after that failed."""
        if self.results.current is None:
            self.findings = None
        self.state, self.fraction, self.started_s = "waiting", 0.0, None

    def tell(self, done: int, total: int | None) -> None:
        """Note how far the present stage is.

        Raises:
            StoppedError: It was cancelled.
        """
        self.check_going()
        self.fraction = None if not total else done / total

    def end(self, state: State) -> None:
        """Come to an end."""
        self.ended_s = time.monotonic()
        self.state = state

    def to_json(self) -> dict[str, Any]:
        """What the page may know."""
        left_s = self.left_s()
        progress, result, findings = self.progress(), self.result, self.findings
        masked = self.masked
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "progress": None if progress is None else round(progress, 3),
            "left_s": None if left_s is None else round(left_s, 1),
            "error": self.error,
            "notice": self.notice,
            "result": None if result is None else result.to_json(),
            "shown": None if masked is None else masked.to_json(),
            "result_name": None if result is None else self.result_name,
            "output": None if self.delivery is None else self.delivery.to_json(),
            "can_choose": result is not None and findings is not None and findings.chooses,
            "can_correct": result is not None and findings is not None,
            "has_sound": findings is not None and findings.sounds,
            "can_undo": result is not None and self.results.has_earlier,
            "can_redo": result is not None and self.results.has_later,
        }


def shown_name(name: str) -> str:
    """What a browser calls a file and the folders it was in, without what is not for show.

    Of a whole path, which other programs may send, the last part.
    """
    folders = name.split("/")
    if not folders[0] or ":" in folders[0] or "\\" in name:
        folders = name.replace("\\", "/").split("/")[-1:]
    last = PurePosixPath(_shown(folders.pop()) or "file")
    kept = [_cut(part, _MOST_NAME) for part in map(_shown, folders) if part]
    stem, suffix = _cut(last.stem, _MOST_NAME), _cut(last.suffix, _MOST_SUFFIX)
    return "/".join([*kept[:_MOST_FOLDERS], f"{stem}{suffix}"])


def _cut(text: str, most: int) -> str:
    """The first so many bytes of a text, without a part of a character, or a space or dot last."""
    return text.encode()[:most].decode(errors="ignore").rstrip(" .")


def _shown(part: str) -> str:
    return "".join(char for char in part if char.isprintable()).strip(" .")
