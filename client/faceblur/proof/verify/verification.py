"""Detect faces in a masked file again, and find what is left of those in its source."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from faceblur.detection.detector import Detector
from faceblur.detection.options import DetectionOptions
from faceblur.errors import InputError
from faceblur.image.pixels import BgrImage
from faceblur.proof.verify.audited import AuditedOutput, frames_alone
from faceblur.proof.verify.judging import Verdict, is_held, judge_alone, judge_beside
from faceblur.proof.verify.media import (
    Answer,
    Media,
    Pair,
    hold_frames,
    open_media,
    pair_frames,
)
from faceblur.proof.verify.report import Region, VerifyReport
from faceblur.proof.verify.sheet import MOST, part
from faceblur.proof.verify.wholes import is_dim
from faceblur.times import TimeSpan

OnProgress = Callable[[int, int | None], None]
"""Gets frames done, and how many there are if that is known."""

Part = tuple[Region, BgrImage]

_MARGIN: Final = 1.5

_NAMED: Final = 5
"""Times that a sentence names before it only counts."""

_ODD_PX: Final = 4
"""By how much encoders enlarge images that they cannot hold."""


def verify(
    output: Path,
    *,
    source: Path | None = None,
    audit: AuditedOutput | None = None,
    detector: Detector,
    how: DetectionOptions,
    in_flight: int,
    keep_images: bool = False,
    on_progress: OnProgress | None = None,
) -> VerifyReport:
    """Check that no face shows in a masked image or video.

    With a source, every region in which the detector sees a face, in the source or in the output,
    must have changed; without one, no face that the detector sees in the output may have the
    detail of one. Where there is an audit, what it says was masked must be, and what its policy
    leaves alone is told apart. `in_flight` frames are given to the detector at once; `keep_images`
    keeps images of leaks, for a sheet.

    Raises:
        InputError: A file cannot be read, or they are of different sizes.
        ServerError: A frame could not be checked.
    """
    with open_media(output) as masked:
        verification = _Verification(masked, audit, how, in_flight, keep_images=keep_images)
        if source is None:
            verification.run(frames_alone(masked, audit), None, detector, on_progress)
        else:
            with open_media(source) as original:
                _check_size(original, masked)
                tolerance_s = max(original.tolerance_s, masked.tolerance_s)
                pairs = pair_frames(original.frames(), masked.frames(), tolerance_s)
                verification.run(hold_frames(pairs), original, detector, on_progress)
    return verification.report(source, detector)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A pair of frames whose answers are under way."""

    pair: Pair
    shown: TimeSpan | None
    masked: Answer
    original: Answer | None


@dataclass(eq=False)
class _Verification:
    """One verification under way."""

    masked: Media
    audit: AuditedOutput | None
    how: DetectionOptions
    in_flight: int
    keep_images: bool
    frames: int = 0
    regions: int = 0
    unjudged: int = 0
    leaks: list[Region] = field(default_factory=list)
    doubtful: list[Region] = field(default_factory=list)
    spared: list[Region] = field(default_factory=list)
    leak_parts: list[Part] = field(default_factory=list)
    doubtful_parts: list[Part] = field(default_factory=list)
    missing: list[Fraction] = field(default_factory=list)
    extra: list[Fraction] = field(default_factory=list)
    unlike: list[Fraction] = field(default_factory=list)
    dim: list[tuple[int, Fraction]] = field(default_factory=list)

    def run(
        self,
        pairs: Iterable[Pair],
        original: Media | None,
        detector: Detector,
        on_progress: OnProgress | None,
    ) -> None:
        """Go through both files, with several frames under way at a time."""
        waiting: deque[_Asked] = deque()
        for pair, shown in _with_times(pairs):
            if pair.output is None:
                self.missing += [] if pair.source is None else [pair.source.time_s]
                continue
            answer = None
            if original is not None and pair.source is not None:
                answer = original.ask(pair.source, detector, self.how)
            elif original is not None:
                self.extra.append(pair.output.time_s)
            masked = self.masked.ask(pair.output, detector, self.how)
            waiting.append(_Asked(pair, shown, masked, answer))
            if len(waiting) >= self.in_flight:
                self._judge(waiting.popleft(), on_progress)
        while waiting:
            self._judge(waiting.popleft(), on_progress)

    def report(self, source: Path | None, detector: Detector) -> VerifyReport:
        """What came out."""
        return VerifyReport(
            output=self.masked.path,
            source=source,
            audit=None if self.audit is None else self.audit.name,
            model=detector.model,
            threshold=self.how.threshold,
            frames=self.frames,
            regions=self.regions,
            leaks=self.leaks,
            doubtful=self.doubtful,
            spared=self.spared,
            unjudged=self.unjudged,
            dim=self.dim,
            problems=self._problems(),
            leak_images=[*self.leak_parts, *self.doubtful_parts][:MOST],
        )

    def _judge(self, asked: _Asked, on_progress: OnProgress | None) -> None:
        output, source, audit = asked.pair.output, asked.pair.source, self.audit
        assert output is not None
        faces = asked.masked()
        claimed = np.zeros((0, 4), np.float32) if audit is None else audit.masked(output.time_s)
        verdicts: Iterable[Verdict]
        if source is None or asked.original is None:
            mode = None if audit is None else audit.mode
            verdicts = judge_alone(output.grey, faces, claimed, mode=mode)
        else:
            original, since = asked.original(), asked.pair.since
            alike, verdicts = judge_beside(source.grey, output.grey, original, faces, claimed)
            hidden = audit is not None and audit.hides(asked.shown)
            if since is not None and not hidden:
                sure = original.boxes[original.scores >= self.how.threshold]
                if not is_held(since.grey, source.grey, np.concatenate([sure, claimed])):
                    self.missing.append(source.time_s)
            if not alike and not hidden:
                self.unlike.append(output.time_s)
        self._note_light(asked)
        for verdict in verdicts:
            self._note(asked, verdict)
        self.frames += 1
        if on_progress is not None:
            on_progress(self.frames, self.masked.frame_count)

    def _note_light(self, asked: _Asked) -> None:
        """Remember frames in which a face might show that no detector finds.

        Masks have contrast of their own, so the source tells, where there is one.
        """
        output, source, audit = asked.pair.output, asked.pair.source, self.audit
        assert output is not None
        if audit is not None and audit.hides(asked.shown):
            return
        if is_dim(output.grey) or (source is not None and is_dim(source.grey)):
            self.dim.append((output.index, output.time_s))

    def _note(self, asked: _Asked, verdict: Verdict) -> None:
        output = asked.pair.output
        assert output is not None
        self.regions += 1
        if verdict.shows is None:
            self.unjudged += 1
        if not verdict.shows:
            return
        finding = Region(
            frame=output.index,
            time_s=output.time_s,
            box=verdict.box,
            score=verdict.score,
            reason=verdict.reason,
            kept=verdict.kept,
        )
        audit = None if verdict.reason == "not masked" else self.audit
        if audit is not None and audit.left_alone(verdict.box, asked.shown):
            self.spared.append(finding)
            return
        # Next to a source in which there was no face, one may be owed to the encoder.
        alone = verdict.reason == "face" and asked.original is not None
        needed = self.how.threshold * (_MARGIN if alone else 1)
        sure = verdict.score is None or verdict.score >= needed
        findings, parts = (
            (self.leaks, self.leak_parts) if sure else (self.doubtful, self.doubtful_parts)
        )
        findings.append(finding)
        if self.keep_images and len(parts) < MOST:
            parts.append((finding, part(self.masked.colour(output), finding)))

    def _problems(self) -> list[str]:
        problems = [] if self.audit is None else list(self.audit.problems)
        if self.missing:
            problems.append(
                f"{self.masked.path} lacks {_times(self.missing)} of the source: what was masked "
                "has another number of frames, or other times"
            )
        if self.extra:
            problems.append(f"{self.masked.path} has {_times(self.extra)} that the source has not")
        if self.unlike:
            problems.append(
                f"{self.masked.path} does not show what the source shows in "
                f"{_times(self.unlike)}: give the file that it was made from"
            )
        if self.dim:
            problems.append(
                f"{self.masked.path} is too dark or flat to judge in "
                f"{_times([time_s for _, time_s in self.dim])}: a face may show there that the "
                "detector does not find, so look for yourself"
            )
        if self.audit is not None and self.audit.manifest.frames.checked != self.frames:
            problems.append(
                f"{self.masked.path} has {self.frames} frames, and the audit counts "
                f"{self.audit.manifest.frames.checked}"
            )
        return problems


def _check_size(original: Media, masked: Media) -> None:
    """Refuse files that cannot be compared; odd sizes may have been made even.

    Raises:
        InputError: They differ by more.
    """
    more = (masked.width - original.width, masked.height - original.height)
    if not all(0 <= pixels < _ODD_PX for pixels in more):
        raise InputError(
            f"{masked.path} has {masked.width} × {masked.height} pixels and {original.path} "
            f"{original.width} × {original.height}: give the file that it was made from"
        )


def _with_times(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, TimeSpan | None]]:
    """Say when each output frame is shown: until the next one is."""
    last: Pair | None = None
    interval_s = Fraction(1, 100)
    for pair in pairs:
        if pair.output is None:
            yield pair, None
            continue
        if last is not None and last.output is not None:
            interval_s = max(interval_s, pair.output.time_s - last.output.time_s)
            yield last, _span(last.output.time_s, pair.output.time_s)
        last = pair
    if last is not None and last.output is not None:
        start_s = last.output.time_s
        single = last.output.index == 0 and last.since is None
        yield last, None if single else _span(start_s, start_s + interval_s)


def _span(start_s: Fraction, end_s: Fraction) -> TimeSpan | None:
    """Pages of a document have no times."""
    return TimeSpan(start_s, end_s) if end_s > start_s else None


def _times(times_s: Sequence[Fraction]) -> str:
    named = ", ".join(f"{float(time_s):.3f} s" for time_s in times_s[:_NAMED])
    more = ", …" if len(times_s) > _NAMED else ""
    noun = "frame" if len(times_s) == 1 else "frames"
    return f"{len(times_s)} {noun} ({named}{more})"
