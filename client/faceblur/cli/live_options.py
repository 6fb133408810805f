"""Options of the commands that run one camera."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import click

from faceblur.cli.options import bundle, session_options_with
from faceblur.errors import InputError
from faceblur.live.options import MAX_DETECT_EVERY, MAX_LOOKAHEAD, OnFailure
from faceblur.live.sources.options import HardwareDecoding
from faceblur.masks.policy import Policy
from faceblur.masks.zones import Zone

LIVE_DEADLINE_S = 1.0

live_session_options = session_options_with(LIVE_DEADLINE_S)
"""As `session_options`; frames that take longer than a second come too late."""


def _with_zones(
    policy: Policy, always: tuple[str, ...], never: tuple[str, ...], min_face: float
) -> Policy:
    if policy.tiles == "fine":
        raise InputError("cameras are always looked at as a whole; leave out --tiles, raise --size")
    zones = [Zone.parse("always", text) for text in always]
    zones += [Zone.parse("never", text) for text in never]
    return dataclasses.replace(policy, zones=tuple(zones), min_face=min_face)


zone_options = bundle(
    "policy",
    _with_zones,
    click.option(
        "--always",
        multiple=True,
        metavar="ZONE",
        help='Mask this part of the picture whatever is there: "0%,0% 50%,0% 50%,20%". Repeatable.',
    ),
    click.option(
        "--never",
        multiple=True,
        metavar="ZONE",
        help="Leave faces alone that lie wholly in this part. Repeatable.",
    ),
    click.option(
        "--min-face",
        type=click.FloatRange(0),
        default=0.0,
        metavar="PX",
        show_default="all are masked",
        help="Leave faces alone that are less high than this, pixels.",
    ),
)
"""Zones and the smallest face, put into the policy; after `policy_options`."""


def _live(
    fps: float | None,
    detect_every: int,
    lookahead: int,
    on_failure: OnFailure,
    hardware_decoding: HardwareDecoding,
) -> dict[str, Any]:
    return {
        "fps": fps,
        "detect_every": detect_every,
        "lookahead": lookahead,
        "on_failure": on_failure,
        "hardware_decoding": hardware_decoding,
    }


live_options = bundle(
    "live",
    _live,
    click.option(
        "--fps",
        type=click.FloatRange(0, 240, min_open=True),
        show_default="all",
        help="Frames per second that are used, at most.",
    ),
    click.option(
        "--detect-every",
        type=click.IntRange(1, MAX_DETECT_EVERY),
        default=1,
        show_default=True,
        metavar="N",
        help="Look for faces in every Nth frame and follow them between; faster, less sure.",
    ),
    click.option(
        "--lookahead",
        type=click.IntRange(0, MAX_LOOKAHEAD),
        default=0,
        show_default=True,
        metavar="N",
        help="Show everything N frames later, and mask faces already before they are first found.",
    ),
    click.option(
        "--on-failure",
        type=click.Choice(get_args(OnFailure)),
        default="placeholder",
        show_default=True,
        help="What is shown while frames cannot be checked: a notice, or the last masked frame.",
    ),
    click.option(
        "--hardware-decoding",
        type=click.Choice(get_args(HardwareDecoding)),
        default="off",
        show_default=True,
        help="Decode on a device; on the CPU where that does not work.",
    ),
)
"""What only cameras have, as keyword arguments of `CameraOptions`."""
