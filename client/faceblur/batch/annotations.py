"""Faces from a JSON file, as `faceblur blur --json` writes it, to be masked without detecting.

A person may have edited it. So everything is checked against the image or video before anything
is masked with it, and whatever is missing is an error: a frame without faces says so.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

from faceblur.batch.annotation_format import FramePart, MediaPart, read_content
from faceblur.batch.corrections import Correction, FrameTimes, Removal, meant_face
from faceblur.batch.track_choice import TrackChoice
from faceblur.detection.detector import ModelInfo
from faceblur.detections import TIME_DIGITS, Detections, FrameDetectionsLog
from faceblur.errors import InputError
from faceblur.files import file_sha256
from faceblur.masks.policy import Policy
from faceblur.schema.conversion import build, from_json
from faceblur.schema.mistakes import FormError, Mistake, MistakesError, located
from faceblur.schema.values import named
from faceblur.tracking.naming import Certainty

_SAME_TIME_S: Final = Fraction(1, 10**TIME_DIGITS)
"""Times are written to so many digits."""

_MAX_TIME_S: Final = 1e9


class MediaAnnotations:
    """What a JSON file says of one image or video.

    Attributes:
        log: The faces of its frames.
        certainty: For each track, the spans in which it is surely one face.
    """

    def __init__(self, media: MediaPart, where: str) -> None:
        """Check and take in all frames.

        Raises:
            InputError: Something is missing or wrong.
        """
        self.where = where
        self.path = media.path
        self.sha256 = media.sha256 or ""
        self.corrections = media.corrections
        self.certainty = {
            track.id: Certainty(track.steady, track.certain) for track in media.tracks
        }
        if len(self.certainty) < len(media.tracks):
            raise InputError(f"{where} has several tracks with one id; leave the one that counts")
        self._size = media.width, media.height
        self.log = FrameDetectionsLog()
        self._indices: list[int] = []
        mistakes: list[Mistake] = []
        for i, frame in enumerate(media.frames):
            try:
                self._add(build(FramePart, named(frame)))
            except InputError as error:
                mistakes += located(error, "frames", i)
        if mistakes:
            raise MistakesError(mistakes, where)
        times = [Fraction(each.pts_s) for each in self.log]
        # A video has times, and a document pages, of any size.
        is_document = len(times) > 1 and times[0] == times[-1]
        for number, each in enumerate(self.corrections, start=1):
            try:
                each.check(*self._size, one_size=not is_document)
            except InputError as error:
                raise InputError(f"correction {number} of {where} {error}") from error

    def check_size(self, width: int, height: int) -> None:
        """Compare with the size of the image, in pixels.

        Raises:
            InputError: It is another.
        """
        if self._size != (width, height):
            own = "×".join(map(str, self._size))
            raise InputError(
                f"{self.where} is {own} pixels, but the file {width}×{height}; make the JSON "
                "from this very file"
            )

    def faces(self, index: int, pts_s: Fraction | float) -> Detections:
        """The faces of a frame.

        Raises:
            InputError: The frame is not listed, or at another time.
        """
        at = bisect_left(self._indices, index)
        if at == len(self._indices) or self._indices[at] != index:
            raise InputError(
                f"frame {index} at {float(pts_s):.3f} s is not in {self.where}: nobody has "
                'checked it; list it, with "faces": [] if there are none'
            )
        frame = self.log[at]
        if abs(Fraction(frame.pts_s) - Fraction(pts_s)) > _SAME_TIME_S:
            raise InputError(
                f"frame {index} is at {float(frame.pts_s):.6f} s in {self.where}, but at "
                f"{float(pts_s):.6f} s in the file; make the JSON from this very file"
            )
        return frame.detections

    def times(self, start_s: Fraction = Fraction(0), *, paged: bool = False) -> FrameTimes:
        """The frames by their times.

        Args:
            start_s: When a video starts by its clock, seconds.
            paged: Whether it is an image.
        """
        times = [Fraction(each.pts_s) - start_s for each in self.log]
        return FrameTimes(self._indices, times, paged=paged)

    def removed(self, times: FrameTimes) -> dict[int, tuple[tuple[float, float], ...]]:
        """Tracks that corrections remove, and the spans, first and last time, where they do.

        A track is removed only where nobody else can have been taken for it.

        Raises:
            InputError: A correction means no track, or more than one.
        """
        certain = {track: spans.certain for track, spans in self.certainty.items()}
        found = {}
        for number, each in enumerate(self.corrections, start=1):
            if each.remove is None:
                continue
            name = f"correction {number} of {self.where}"
            if each.until is not None:
                raise InputError(
                    f"{name} removes a track, which has an end of its own; leave until out"
                )
            track = self._removed_track(each.remove, times, name)
            if track not in certain:
                known = ", ".join(map(str, sorted(certain)[:10])) or "none"
                raise InputError(
                    f"{name} removes track {track}, which the list does not have; it has {known}"
                )
            found[track] = certain[track]
        return found

    def kept(self, removed: Mapping[int, Sequence[tuple[float, float]]]) -> list[str]:
        """Say how many faces of removed tracks stay masked, since they may be somebody else's."""
        times, frames, _, tracks = self.log.columns()
        notes = []
        for track, spans in removed.items():
            of_track = times[frames[tracks == track]]
            gone = np.zeros(len(of_track), bool)
            for first, last in spans:
                gone |= (of_track >= first - 1e-6) & (of_track <= last + 1e-6)
            if stay := int((~gone).sum()):
                notes.append(
                    f"track {track} stays masked in {stay} of {len(of_track)} frames, where it "
                    "may be somebody else"
                )
        return notes

    def _removed_track(self, removal: Removal, times: FrameTimes, name: str) -> int:
        if removal.track is not None:
            return removal.track
        assert removal.at is not None
        assert removal.box is not None
        index = times.index(removal.at, f"the face that {name} removes")
        faces = self.log[bisect_left(self._indices, index)].detections
        try:
            track = int(faces.tracks[meant_face(faces.boxes.astype(np.float64), removal.box)])
            if not track:
                raise InputError("removes a face without a track; delete its box from each frame")
        except InputError as error:
            raise InputError(f"{name} {error}") from error
        return track

    def check_end(self, count: int) -> None:
        """Compare with the number of frames that the file turned out to have.

        Raises:
            InputError: More are listed.
        """
        if self._indices and self._indices[-1] >= count:
            raise InputError(
                f"frame {self._indices[-1]} is in {self.where}, but the file has only {count}; "
                "make the JSON from this very file"
            )

    def _add(self, frame: FramePart) -> None:
        if frame.index < 0 or (self._indices and frame.index <= self._indices[-1]):
            raise FormError(f"has index {frame.index}: frames must be in order, each once")
        if abs(frame.pts_s) > _MAX_TIME_S:
            raise FormError(f"is at {frame.pts_s:g} s, which no video lasts")
        rows = [face.row() for face in frame.faces]
        faces = Detections.from_rows(rows, [face.track for face in frame.faces])
        self._indices.append(frame.index)
        pts_s = Fraction(round(frame.pts_s * 10**TIME_DIGITS), 10**TIME_DIGITS)
        self.log.append(pts_s, faces)


@dataclass(frozen=True, eq=False)
class AnnotationFile:
    """A JSON file of faces.

    Attributes:
        policy: The policy it was made with, as in JSON; some settings may be missing.
        choice: Whom of those listed to leave unmasked; None for nobody.
        added: Corrections behind those of the file, of each image or video in it.
        folder: What names of images and videos in it are relative to.
    """

    path: Path
    sha256: str
    model: ModelInfo | None
    policy: dict[str, Any]
    _media: Sequence[MediaPart]
    choice: TrackChoice | None = None
    added: tuple[Correction, ...] = ()
    folder: Path = Path()

    @classmethod
    def read(cls, path: Path) -> AnnotationFile:
        """Read a file.

        Raises:
            InputError: It cannot be read or is something else.
        """
        content, sha256 = read_content(path)
        model = None if content.model is None else ModelInfo(**asdict(content.model))
        return cls(path, sha256, model, content.policy, content.media)

    def anywhere(self) -> AnnotationFile:
        """The same, with names that mean the same to a process in another folder."""
        return replace(self, folder=self.folder.absolute())

    def leaves_faces_out(self) -> bool:
        """Whether faces that were found are missing from it, since nothing masked them.

        Raises:
            InputError: The policy in it is none.
        """
        return leaves_faces_out(from_json(self.policy, Policy, f"the policy of {self.path}"))

    def media(self, source: Path) -> MediaAnnotations:
        """Find what the file says of an image or a video: by its content, else by its name.

        Raises:
            InputError: Nothing, or something wrong.
        """
        sha256 = file_sha256(source)
        same_content = [m for m in self._media if m.sha256 == sha256]
        own = source.resolve()
        same_name = [m for m in self._media if (self.folder / m.path).resolve() == own]
        found = same_content
        if len(same_content) != 1:
            both = [m for m in same_content if m in same_name]
            unhashed = [m for m in same_name if m.sha256 is None]
            found = both if same_content else unhashed
        if len(found) == 1:
            where = f"the entry of {found[0].path} in {self.path}"
            corrections = (*found[0].corrections, *self.added)
            return MediaAnnotations(replace(found[0], corrections=corrections), where)
        if found or same_content:
            raise InputError(
                f"{self.path} has several entries for {source}; leave the one that counts"
            )
        if same_name:
            raise InputError(
                f"{source} is not the file that {self.path} was made from: its content differs; "
                "detect again without --boxes"
            )
        raise InputError(
            f"{self.path} says nothing of {source}; give a file it was made from, or detect "
            "without --boxes"
        )


def leaves_faces_out(policy: Policy) -> bool:
    """Whether faces that were found are missing from lists, since the policy leaves them alone."""
    spares = any(span.effect == "spare" for span in policy.spans)
    return spares or policy.min_face > 0 or any(zone.kind == "never" for zone in policy.zones)
