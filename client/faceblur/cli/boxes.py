"""The policy of a replay: that of the JSON file, and what the command line says beside it."""

from __future__ import annotations

from typing import Any, Final

from faceblur.batch.annotations import AnnotationFile
from faceblur.cli.options import given
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.schema import from_json, to_json

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
