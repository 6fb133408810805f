"""Options of what is masked and how: each bundle puts its part into one `Policy`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from faceblur.cli.options import (
    DETECT_EVERY_OPTION,
    SIZE_OPTION,
    TILES_OPTION,
    Decorator,
    FilePath,
    bundle,
    given,
    option,
    threshold_option,
)
from faceblur.detection.options import DetectionOptions, Tiles
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.masks.spans import Effect, Span
from faceblur.masks.style import MaskMode, MaskShape, MaskStyle
from faceblur.masks.zones import Kind, Zone
from faceblur.moving.options import MAX_HOLD_S, MovingOptions
from faceblur.times import TimeSpan
from faceblur.tracking import TrackingOptions


def _policy(
    threshold: float,
    size: int,
    tiles: Tiles,
    mask: MaskMode,
    mask_image: Path | None,
    shape: MaskShape,
    expand: float,
    feather: float,
    colour: str,
) -> Policy:
    style = MaskStyle(
        mode=mask,
        shape=shape,
        expand=expand,
        feather=feather,
        color=_colour(colour),
        image=mask_image,
    )
    detection = DetectionOptions(threshold=threshold, size=size, tiles=tiles)
    return Policy(detection=detection, mask=style)


def _colour(text: str) -> tuple[int, int, int]:
    digits = text.removeprefix("#")
    if len(digits) != 6 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise InputError(f"{text} is no colour; give six hexadecimal digits, such as 000000")
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


policy_options = bundle(
    "policy",
    _policy,
    threshold_option(),
    SIZE_OPTION,
    TILES_OPTION,
    option(
        "--mask",
        type=click.Choice(get_args(MaskMode)),
        default=MaskStyle().mode,
        help="What covers a face; veil looks like a strong blur and holds nothing of the face.",
    ),
    option("--mask-image", type=FilePath, help="The image file for --mask image."),
    option(
        "--shape",
        type=click.Choice(["ellipse", "box"]),
        default="ellipse",
        help="The outline of a mask.",
    ),
    option(
        "--expand",
        type=click.FloatRange(0, 3),
        default=MaskStyle().expand,
        help="How much to add on each side of a face, as a share of its width and height.",
    ),
    option(
        "--feather",
        type=click.FloatRange(0, 1),
        default=0.0,
        help="Width of a soft edge outside the mask, as a share of half its size.",
    ),
    option("--colour", "--color", default="000000", help="For --mask solid."),
)
"""--threshold, --size, --tiles, --mask, --shape, --expand, --feather, as a `Policy`."""


def _zoned(
    policy: Policy, min_face: float, always: tuple[str, ...], never: tuple[str, ...]
) -> Policy:
    texts: dict[Kind, tuple[str, ...]] = {"always": always, "never": never}
    zones = tuple(Zone.parse(kind, text) for kind in texts for text in texts[kind])
    return dataclasses.replace(policy, min_face=min_face, zones=zones)


zone_options = bundle(
    "policy",
    _zoned,
    option(
        "--min-face",
        type=click.FloatRange(0),
        default=0.0,
        metavar="PX",
        show_default="all are masked",
        help="Leave faces alone that are smaller than this: height in pixels.",
    ),
    option(
        "--always",
        multiple=True,
        metavar="ZONE",
        help="Mask this part of the image whatever is there: 3 or more corners in pixels, "
        '"0,0 200,0 200,100", or in per cent, "0%,0% 50%,0% 50%,20%"; of files, with '
        '"@ 0:10-0:20" at the end only then. Repeatable.',
    ),
    option(
        "--never",
        multiple=True,
        metavar="ZONE",
        help="Leave faces alone that lie entirely in this part. Repeatable.",
    ),
)
"""Zones and the smallest face, put into the policy; after `policy_options`."""


def _with_moving(policy: Policy, moving: bool, moving_hold: float) -> Policy:
    if not moving and "moving_hold" in given():
        raise InputError("--moving-hold is for what moves; give --moving too")
    options = MovingOptions(mode="mask" if moving else "off", hold_s=moving_hold)
    return dataclasses.replace(policy, moving=options)


moving_options = bundle(
    "policy",
    _with_moving,
    option(
        "--moving",
        is_flag=True,
        help="In videos and cameras with a fixed view, mask whatever moves, too: people from "
        "above, from behind, hooded. Everything is masked until the view is learnt.",
    ),
    option(
        "--moving-hold",
        type=click.FloatRange(0.5, MAX_HOLD_S),
        metavar="SECONDS",
        default=MovingOptions().hold_s,
        help="What stands still is masked for so long; so long a camera's view is learnt.",
    ),
)
"""What moves, put into the policy; after `policy_options`."""


def _timed(policy: Policy, hide: tuple[str, ...], spare: tuple[str, ...]) -> Policy:
    texts: dict[Effect, tuple[str, ...]] = {"hide": hide, "spare": spare}
    spans = (Span(effect, TimeSpan.parse(text)) for effect in texts for text in texts[effect])
    return dataclasses.replace(policy, spans=tuple(spans))


_span_options = bundle(
    "policy",
    _timed,
    option(
        "--hide",
        multiple=True,
        metavar="START-END",
        help="In videos, mask the whole frame during this time, such as 0:05-0:10. Repeatable.",
    ),
    option(
        "--spare",
        multiple=True,
        metavar="START-END",
        help="In videos, leave all faces alone during this time. Repeatable.",
    ),
)


def _covered(
    policy: Policy,
    cover: bool,
    cover_before: float,
    cover_after: float,
    cover_gap: float,
    detect_every: int,
) -> Policy:
    finer = {"cover_before", "cover_after", "cover_gap", "detect_every"}
    if not cover and finer & given():
        raise InputError("--no-cover leaves nothing to --cover-… and --detect-every; leave it out")
    tracking = TrackingOptions(
        lead_s=cover_before, hold_s=cover_after, gap_s=cover_gap, detect_every=detect_every
    )
    return dataclasses.replace(policy, cover=tracking if cover else None)


def _seconds(name: str, default: float, text: str) -> Decorator:
    return option(name, type=click.FloatRange(0, 60), metavar="SECONDS", default=default, help=text)


_cover_options = bundle(
    "policy",
    _covered,
    option(
        "--cover/--no-cover",
        default=True,
        help="In videos, mask a face also where single frames miss it.",
    ),
    _seconds(
        "--cover-before", TrackingOptions().lead_s, "At most this long before it was first found."
    ),
    _seconds(
        "--cover-after", TrackingOptions().hold_s, "At most this long after it was last found."
    ),
    _seconds(
        "--cover-gap",
        TrackingOptions().gap_s,
        "And in between, where it comes back within this time.",
    ),
    DETECT_EVERY_OPTION,
)


def choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--min-face, zones, time spans and the cover, put into the policy; after `policy_options`."""
    return zone_options(moving_options(_span_options(_cover_options(command))))
