"""One result of a file: masked with the code of the command, then checked.

The first asks the detector; those after it mask what was found then, as somebody has edited it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from faceblur.batch.annotation_format import write_findings
from faceblur.batch.annotations import AnnotationFile, leaves_faces_out
from faceblur.batch.jobs import AnyJob, Job
from faceblur.batch.outcome import Outcome, RunOptions
from faceblur.batch.private_folder import remove
from faceblur.batch.runner import run
from faceblur.batch.track_choice import TrackChoice
from faceblur.batch.video import Progress
from faceblur.detection.session import DetectionSession
from faceblur.detections import MediaDetections
from faceblur.image.stills import Pages, pages_of
from faceblur.masks.policy import Policy
from faceblur.proof.audit import facts
from faceblur.proof.verify.audited import AuditedOutput
from faceblur.proof.verify.verification import verify
from faceblur.video.kinds import result_name
from faceblur.video.opening import open_container
from faceblur.video.source import VideoSource
from faceblur.web.jobs.edits import found_before
from faceblur.web.jobs.job import Findings, Masked, WebJob
from faceblur.web.jobs.reasons import on_page
from faceblur.web.jobs.records import begin_audit, write_record
from faceblur.web.jobs.remarks import Remarks
from faceblur.web.jobs.results import Result, Verdict

FOUND: Final = "found.json"
"""The list of what was found, in the folder of its file."""


@dataclass(frozen=True)
class _NamedJob(Job):
    """A file that its record calls as its user does.

    Attributes:
        shown: Its name.
        shown_output: That of the result.
    """

    shown: str = ""
    shown_output: str = ""

    @property
    def source_name(self) -> str:
        """What its user calls it."""
        return self.shown

    @property
    def output_name(self) -> str:
        """What its user calls the result."""
        return self.shown_output


def render(
    job: WebJob, session: DetectionSession, policy: Policy, *, on_change: Callable[[], None]
) -> Result:
    """Mask a file as it is wanted, and check it.

    Raises:
        FaceblurError: That was not possible; there is no result then.
        StoppedError: It was cancelled.
    """
    number = job.results.next_number()
    plan = plan_of(job, number)
    record = job.folder / f"record-{number}"
    try:
        return _render(job, plan, session, policy, record, on_change)
    except BaseException:
        job.made = None
        plan.output.unlink(missing_ok=True)
        remove(record)
        raise


def plan_of(job: WebJob, number: int = 1) -> Job:
    """A file as the command sees it; its names here are ours."""
    assert job.source is not None
    named = result_name(job.source, job.kind)
    mark = "masked" if number == 1 else f"masked-{number}"
    output = job.folder / f"{mark}{named[named.rindex('.') :]}"
    return _NamedJob(
        job.source, output, job.kind, shown=job.name, shown_output=job.called(output.suffix)
    )


def _render(
    job: WebJob,
    plan: Job,
    session: DetectionSession,
    policy: Policy,
    record: Path,
    on_change: Callable[[], None],
) -> Result:
    edits, is_first = job.wanted, job.findings is None
    if edits.look is not None:
        policy = dataclasses.replace(policy, mask=edits.look.style(policy.mask))
    finder: DetectionSession | AnnotationFile = session
    if job.findings is not None:
        choice = TrackChoice("keep-visible", edits.kept) if edits.kept else None
        listed = AnnotationFile.read(job.findings.listed)
        finder = dataclasses.replace(listed, choice=choice, added=edits.corrections)
    log = begin_audit(record)
    job.start()

    def on_masked(_: AnyJob, progress: Progress) -> None:
        job.tell(progress.done, progress.total)
        on_change()

    def on_checked(done: int, total: int | None) -> None:
        job.tell(done, total)
        on_change()

    options = RunOptions(policy=policy, video=edits.sound.options(), audit=log)
    with Remarks(plan.source) as remarks:
        (outcome,) = run([plan], finder, options, on_progress=on_masked)
    report = _report(outcome)
    notes = dict.fromkeys([*report.notes, *remarks.sentences])
    if is_first:
        job.findings = _findings(job, report, session, policy)
    job.check_going()
    number, seen_s = job.results.count, _first_seen_s(report)
    job.made = Masked(number=number, output=plan.output, seen_s=seen_s)
    job.state, job.fraction = "checking", 0.0
    on_change()
    # What somebody has chosen to leave unmasked is meant; what the policy leaves alone shows, as in
    # the first result.
    meant = None
    if not is_first:
        meant = AuditedOutput.of(log.folder, plan.output, plan.source, by_policy=False)
    verified = verify(
        plan.output,
        source=plan.source,
        audit=meant,
        detector=session.detector,
        how=policy.detection,
        in_flight=session.in_flight,
        on_progress=on_checked,
    )
    problems = [renamed(text, job) for text in verified.problems]
    verified = dataclasses.replace(verified, problems=problems)
    write_record(record, verified)
    of_tracks = facts.track_tallies(report)
    tallies = [tally for tally in of_tracks if tally.id in report.kept]
    shown = report.kept | {tally.id for tally in of_tracks if tally.unmasked}
    covered = sum(track.id not in shown for track in report.tracks)
    drawn = sum(bool(each.keyframes) for each in edits.corrections)
    return Result(
        number=number,
        output=plan.output,
        record=record,
        faces=covered if job.kind == "video" else _found_again(report, job.findings),
        drawn=drawn,
        frames=outcome.frames,
        verdict=Verdict.of(verified),
        edits=edits,
        report=report,
        leaks=tuple(verified.leaks),
        notes=tuple(renamed(text, job) for text in notes),
        seen_frames=sum(tally.unmasked for tally in tallies),
        kept_frames=sum(tally.unmasked + tally.masked for tally in tallies),
        seen_s=seen_s,
    )


def _found_again(report: MediaDetections, findings: Findings | None) -> int:
    """How many faces of an image are covered that were found, and not drawn."""
    if findings is None:
        return sum(len(page.detections) for page in report.frames)
    pairs = zip(report.frames, findings.report.frames, strict=True)
    same = (found_before(page.detections, found.detections) for page, found in pairs)
    return sum(int(each.sum()) for each in same)


def _first_seen_s(report: MediaDetections) -> float | None:
    start_s = report.frames[0].pts_s if len(report.frames) else 0
    kept = list(report.kept)
    times = (
        float(each.pts_s - start_s)
        for each in report.unmasked
        if np.isin(each.detections.tracks, kept).any()
    )
    first_s = next(times, None)
    return None if first_s is None else round(first_s, 3)


def renamed(text: str, job: WebJob) -> str:
    """A sentence with the name that the user knows in place of a path of ours."""
    if job.source is not None:
        output = plan_of(job, max(1, job.results.count)).output
        text = text.replace(f" of the entry of {job.source} in {job.folder / FOUND}", "")
        text = text.replace(str(output), "the result").replace(str(job.source), job.name)
    return on_page(text.replace(str(job.folder), "the private folder"))


def _report(outcome: Outcome) -> MediaDetections:
    if outcome.error is not None:
        raise outcome.error
    assert outcome.report is not None
    return outcome.report


def has_sound(video: Path) -> bool:
    """Whether a video that can be read has sound."""
    with open_container(video) as container:
        return bool(container.streams.audio)


def _pixel_aspect(video: Path) -> Fraction:
    with VideoSource(video) as source:
        return source.properties.sample_aspect_ratio or Fraction(1)


def _findings(
    job: WebJob, report: MediaDetections, session: DetectionSession, policy: Policy
) -> Findings:
    """What was found, and whether anybody can be chosen from it."""
    listed = job.folder / FOUND
    write_findings(listed, session.model, policy, [report])
    chooses = job.kind == "video" and any(track.steady for track in report.tracks)
    return Findings(
        report,
        listed,
        chooses=chooses and not leaves_faces_out(policy),
        sounds=job.kind == "video" and has_sound(report.path),
        pixel_aspect=_pixel_aspect(report.path) if job.kind == "video" else Fraction(1),
        pages=Pages() if job.kind == "video" else pages_of(report.path),
    )
