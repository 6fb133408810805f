"""The format of the audit of what was masked.

An audit is a folder:

    00000001.jsonl    the manifest of the first output: one line of JSON with the facts, then one
    00000002.jsonl    line for each frame
    …
    head.json         how many manifests there are, and the SHA-256 of the last

Each manifest holds the SHA-256 of the bytes of the one before it, and the head that of the last.

What that shows: any edit of a manifest, one that is missing, in the middle or at the end, and
manifests that changed places, as long as the rest was left alone.

What it cannot show, for there is no secret in it: an audit that was rewritten from the change
to its head. Two things close that gap. With a key (`FACEBLUR_AUDIT_KEY`) the head is sealed with
an HMAC, and nobody without the key can write a head that holds. And a head that was noted
elsewhere (`faceblur blur` prints it) must be found again with `Audit.holds`: that alone shows an
audit that was put back to an earlier, genuine state, or was deleted and started over. Neither shows
that the machine told the truth when it wrote.

Nothing in it is an image of anybody: faces are boxes. Names are relative to the tree that was
blurred, without the folders above, and the machine is named by its system and processor alone.

It is read without `faceblur.schema`: nobody may edit it, so one reason why it does not hold is
enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from faceblur.detection.detector import ModelInfo
from faceblur.errors import InputError

if TYPE_CHECKING:
    from cattrs import Converter

FORMAT: Final = "faceblur-audit/1"
HEAD_FORMAT: Final = "faceblur-audit-head/1"
HEAD: Final = "head.json"
SEAL: Final = "seal.json"
"""Of an audit of several chains: see `faceblur.proof.audit.chains`."""

PENDING: Final = ".pending.jsonl"
"""The newest manifest, from just before the head counts it until it gets its name."""

BEGINNING: Final = "0" * 64
"""What the first manifest names as the hash of the one before."""

KEY_VARIABLE: Final = "FACEBLUR_AUDIT_KEY"


class AuditError(InputError):
    """An audit is not there, cannot be read, or was changed after it was written."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """One file, as it was when the manifest was written.

    Attributes:
        name: Relative to the tree that was blurred, with forward slashes; never absolute.
        sha256: Of its content, hexadecimal; None for a live stream, as is the size.
    """

    name: str
    sha256: str | None
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class FrameTally:
    """What happened to the frames.

    Attributes:
        checked: Frames that were written, each of which was checked; one line each.
        with_faces: Those of them in which something was masked.
        faces: Masked regions in all of them.
        dropped: Frames that were left out; always 0 for files.
        held: Times that an earlier safe frame was shown instead; always 0 for files.
    """

    checked: int
    with_faces: int
    faces: int
    dropped: int = 0
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class TrackTally:
    """What happened to one track of a video; no image of it, and nothing to recognise it by.

    Attributes:
        id: As the JSON file of faces names it.
        masked: Frames in which it was masked, or covered by what else is masked there.
        unmasked: Frames in which it was seen, because somebody chose so.
    """

    id: int
    masked: int
    unmasked: int


@dataclass(frozen=True, eq=False)
class AuditedFrame:
    """One frame, or one page of an image.

    Attributes:
        index: Counted from 0.
        pts_s: When it is shown, seconds; 0 for a still image.
        boxes: (N, 4) float32, x1 y1 x2 y2 of what was masked, in pixels of the upright frame,
            before the mask's expansion.
        unmasked: (M, 4) float32, likewise, of faces that were seen because of their track.
    """

    index: int
    pts_s: float
    boxes: npt.NDArray[np.float32]
    unmasked: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was done to make one output; its fields stand in the file in this order.

    Attributes:
        started: With a time zone, as `ended`.
        kind: `image`, `video` or `live`.
        width: Of the upright image, pixels, as `height`.
        detector: Where it ran: `server`, `embedded` or `in process`; `boxes` where faces were
            listed in a file (`settings` has its SHA-256) and the model, if known, made the list.
        settings: All that decides what is masked and how it is written: `policy` (as
            JSON has it) and the writing options.
        settings_sha256: Of the canonical JSON of `settings`.
        tools: Versions by name.
        platform: System and processor.
        tracks: Of a video, by their ids; none in audits of before there were any.
    """

    started: datetime
    ended: datetime
    kind: str
    source: FileFacts
    output: FileFacts
    width: int
    height: int
    model: ModelInfo
    detector: str
    settings: Mapping[str, Any]
    settings_sha256: str
    frames: FrameTally
    tools: Mapping[str, str]
    platform: str
    tracks: tuple[TrackTally, ...] = ()

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_json`; other fields do no harm.

        Raises:
            KeyError: A field is missing.
            ValueError: One is something else; likewise TypeError.
        """
        return _converter().structure(fields, cls)

    def to_json(self) -> dict[str, Any]:
        """The facts in values that JSON has."""
        fields: dict[str, Any] = _converter().unstructure(self)
        return fields


@cache
def _converter() -> Converter:
    # Not needed to import faceblur.
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    converter = Converter(detailed_validation=False)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_unstructure_hook(
        datetime,
        lambda time: time.astimezone(timezone.utc).isoformat(timespec="milliseconds"),
    )
    overrides: dict[Any, dict[str, Any]] = {
        FileFacts: {"size_bytes": override(rename="bytes")},
        ModelInfo: {"stride": override(omit=True)},
    }
    for kind, each in overrides.items():
        converter.register_structure_hook(kind, make_dict_structure_fn(kind, converter, **each))
        converter.register_unstructure_hook(kind, make_dict_unstructure_fn(kind, converter, **each))
    return converter
