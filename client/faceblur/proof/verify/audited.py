"""What an audit says of one output: which regions were masked, and which faces left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from faceblur.boxes import box_iou
from faceblur.detections import ROW_WIDTH, Detections
from faceblur.errors import InputError
from faceblur.files import file_sha256
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.style import MaskMode, MaskStyle
from faceblur.proof.audit import chains
from faceblur.proof.audit.manifest import AuditedFrame
from faceblur.proof.audit.reader import Entry, environment_key
from faceblur.proof.verify.evidence import Box
from faceblur.proof.verify.media import Frame, Media, Pair, hold_frames, pair_frames
from faceblur.schema.conversion import from_json
from faceblur.times import TimeSpan

_NEARLY: Final = 0.9
"""A face this much smaller may have been left alone: two detections of it differ a little."""


_TOLERANCE_S: Final = 0.002
"""Audits give times to 1 µs, containers to 1 ms at worst."""

_SAME_IOU: Final = 0.5
"""Of a face that is seen, and one that the audit names."""

_NOTHING: Final = np.zeros((0, 4), np.float32)


class AuditedOutput:
    """The manifest of an output, gone through once, frame by frame.

    Attributes:
        mode: What covers faces.
        problems: One sentence for each way in which files are not those that it names.
    """

    def __init__(self, entry: Entry, problems: list[str], *, by_policy: bool = True) -> None:
        self.name = str(entry.path)
        self.problems = problems
        self.manifest = entry.manifest
        settings = entry.manifest.settings.get("policy", {})
        policy = _policy(settings)
        self._selection = Selection(policy, entry.manifest.width, entry.manifest.height)
        self._entry = entry
        self._frames = entry.frames()
        self._hidden = [span.time for span in policy.spans if span.effect == "hide"]
        self.mode: MaskMode = settings.get("mask", {}).get("mode", MaskStyle().mode)
        self._offset_s: float | None = None
        self._next: AuditedFrame | None = None
        self._unmasked = _NOTHING
        self._by_policy = by_policy

    @classmethod
    def of(
        cls, folder: Path, output: Path, source: Path | None, *, by_policy: bool = True
    ) -> AuditedOutput:
        """Find the manifest of an output, by its content, or else by its name.

        Args:
            folder: Of the audit.
            output: What was masked.
            source: What it was made from; None if that is not there.
            by_policy: Whether what the policy leaves alone, such as small faces, counts as left
                alone, or only what somebody has chosen.

        Raises:
            AuditError: There is no audit, or its chain is broken.
            InputError: It does not know the output.
        """
        audit = chains.read(folder, key=environment_key())
        problems: list[str] = []
        entry = audit.of_output(file_sha256(output))
        if entry is None:
            named = [e for e in audit.entries if Path(e.manifest.output.name).name == output.name]
            if not named:
                raise InputError(
                    f"the audit in {folder} knows nothing of {output}: neither its content nor its "
                    "name; give the audit that was written with it"
                )
            entry = named[-1]
            problems.append(
                f"{output} is not what {entry.path} was written for: it was changed afterwards"
            )
        if source is not None and file_sha256(source) != entry.manifest.source.sha256:
            problems.append(f"{source} is not the file that {entry.path} names as the source")
        return cls(entry, problems, by_policy=by_policy)

    def times(self) -> Iterator[Fraction]:
        """When each frame is shown, to the millisecond."""
        return (Fraction(round(frame.pts_s * 1000), 1000) for frame in self._entry.frames())

    def masked(self, time_s: Fraction) -> npt.NDArray[np.float32]:
        """What was masked at a time, (N, 4) float32: x1 y1 x2 y2, before the mask's expansion.

        To be asked for later and later times.
        """
        if self._offset_s is None:
            self._next = next(self._frames, None)
            # Containers count from anywhere; what is compared is the time since the start.
            first_s = float(time_s) if self._next is None else self._next.pts_s
            self._offset_s = float(time_s) - first_s
        wanted_s = float(time_s) - self._offset_s
        if self.manifest.kind == "image":
            # Pages of a document have no times.
            frame, self._next = self._next, next(self._frames, None)
            self._unmasked = _NOTHING if frame is None else frame.unmasked
            return _NOTHING if frame is None else frame.boxes
        self._unmasked = _NOTHING
        while self._next is not None and self._next.pts_s < wanted_s - _TOLERANCE_S:
            self._next = next(self._frames, None)
        if self._next is None or self._next.pts_s > wanted_s + _TOLERANCE_S:
            return _NOTHING
        self._unmasked = self._next.unmasked
        return self._next.boxes

    def hides(self, shown: TimeSpan | None) -> bool:
        """Whether the policy hides all of a frame that is shown then."""
        return shown is not None and any(time.overlaps(shown) for time in self._hidden)

    def left_alone(self, box: Box, shown: TimeSpan | None) -> bool:
        """Whether it says that a face there and then is not masked: by the policy, or its track.

        Tracks are those of the time that `masked` was last asked about.
        """
        if box_iou(box, self._unmasked).max(initial=0) >= _SAME_IOU:
            return True
        if not self._by_policy:
            return False
        row = np.zeros((2, ROW_WIDTH), np.float32)
        middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
        row[0, :4] = box
        row[1, :4] = *(middle - half * _NEARLY), *(middle + half * _NEARLY)
        return len(self._selection.choose(Detections.from_rows(row), shown).faces) < len(row)


def frames_alone(masked: Media, audit: AuditedOutput | None) -> Iterator[Pair]:
    """The frames of an output without its source; the audit tells which were merged.

    That nobody else has merged them is seen from the hash of the output.
    """
    frames = masked.frames()
    if audit is None or audit.manifest.kind != "image":
        return (Pair(None, frame) for frame in frames)
    nothing = np.zeros((0, 0), np.uint8)
    named = (Frame(i, time_s, nothing, None, time_s) for i, time_s in enumerate(audit.times()))
    pairs = hold_frames(pair_frames(named, frames, masked.tolerance_s))
    return (Pair(None, pair.output, pair.since) for pair in pairs if pair.output is not None)


def _policy(settings: Mapping[str, Any]) -> Policy:
    """The policy as far as it decides what is masked: its overlay image need not be there."""
    kept = dict(settings)
    mask = kept.pop("mask", {})
    if "expand" in mask:
        kept["mask"] = {"expand": mask["expand"]}
    return from_json(kept, Policy, "the audit's policy")
