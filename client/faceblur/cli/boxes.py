"""A JSON file of faces on the command line: its policy, and which of its tracks are to be seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.jobs import AnyJob
from faceblur.batch.track_choice import TrackChoice
from faceblur.cli.options import bundle, given, option
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.redaction import printable
from faceblur.schema.conversion import from_json, to_json

_FINDING: Final = (
    *("threshold", "size", "tiles", "server", "model"),
    *("cover", "cover_before", "cover_after", "cover_gap", "detect_every"),
)
"""Options that say how faces are found."""

_MASK: Final = {
    "mask": "mode",
    "mask_image": "image",
    "shape": "shape",
    "expand": "expand",
    "feather": "feather",
    "colour": "colour",
}
"""Options of the mask, and what they are called in JSON."""


def _choice(keep_visible: str | None, only: str | None) -> TrackChoice | None:
    if keep_visible is not None and only is not None:
        raise InputError("give --keep-visible or --only, not both: each says all there is to say")
    if keep_visible is not None:
        return TrackChoice.parse("keep-visible", keep_visible)
    return None if only is None else TrackChoice.parse("only", only)


keep_options = bundle(
    "choice",
    _choice,
    option(
        "--keep-visible",
        metavar="TRACKS",
        help="With --boxes: leave these tracks unmasked, such as 3,7, wherever it is certain that "
        "they are not somebody else. See docs/people.md.",
    ),
    option(
        "--only",
        metavar="TRACKS",
        help="With --boxes: mask these tracks, and all that is not certain to be another.",
    ),
)
"""--keep-visible and --only, as a `TrackChoice` or None."""


def choose_tracks(
    replay: AnnotationFile | None, choice: TrackChoice, jobs: Sequence[AnyJob]
) -> AnnotationFile:
    """Put the choice of some tracks into a JSON file of faces.

    Raises:
        InputError: There is no such file, or it is not for one video alone.
    """
    option = f"--{choice.effect}"
    if replay is None:
        clip = printable(jobs[0].source)
        raise InputError(
            f"{option} takes tracks of a JSON file: make one with `faceblur people {clip} -o "
            f"people.html`, look at that page, and add --boxes people.json"
        )
    if len(jobs) > 1:
        raise InputError(f"{option} is for one video, as each has tracks of its own; name one")
    return dataclasses.replace(replay, choice=choice)


def policy_of(replay: AnnotationFile, policy: Policy) -> Policy:
    """Add what the command line gives to the policy of a JSON file.

    A mask or a smallest face that is given counts instead of the file's; zones and time spans
    count together with the file's, so that none is lost by forgetting it.

    Raises:
        InputError: An option is given that says how to find faces, or the file's policy is
            wrong.
    """
    chosen = given()
    for name in _FINDING:
        if name in chosen:
            option = "--" + name.replace("_", "-")
            raise InputError(f"--boxes runs no face detection; leave out {option}")
    merged: dict[str, Any] = dict(replay.policy)
    own = to_json(policy)
    if "moving" in chosen:
        merged["moving"] = own["moving"]
    if "min_face" in chosen:
        merged["min_face"] = own["min_face"]
    for name in ("zones", "spans"):
        recorded = merged.get(name, [])
        if isinstance(recorded, list):
            merged[name] = own[name] + recorded
    mask = merged.get("mask", {})
    if isinstance(mask, dict):
        changes = {field: own["mask"][field] for name, field in _MASK.items() if name in chosen}
        mask = {**mask, **changes}
        if mask.get("mode") != "image":
            # An image that is not drawn need not be there any more.
            mask["image"] = None
        merged["mask"] = mask
    return from_json(merged, Policy, f"the policy in {replay.path}")
