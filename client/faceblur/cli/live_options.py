"""Options of the commands that run one camera."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from faceblur.cli.options import DETECT_EVERY_OPTION, bundle, option, session_options_with
from faceblur.cli.policy_options import moving_options, policy_options, zone_options
from faceblur.errors import InputError
from faceblur.live.options import DEFAULT_LOOKAHEAD, MAX_LOOKAHEAD, OnFailure
from faceblur.masks.policy import Policy
from faceblur.video.options import HardwareDecoding

LIVE_DEADLINE_S = 1.0

live_session_options = session_options_with(LIVE_DEADLINE_S)
"""As `session_options`; frames that take longer than a second come too late."""


def _without_tracks(policy: Policy, keep_visible: str | None, only: str | None) -> Policy:
    for name, value in (("--keep-visible", keep_visible), ("--only", only)):
        if value is not None:
            raise InputError(
                f"{name} is for files, not for live cameras: nobody can know beforehand who comes "
                "by; record it, then use faceblur people and faceblur blur"
            )
    return policy


_files_only = bundle(
    "policy", _without_tracks, option("--keep-visible", hidden=True), option("--only", hidden=True)
)


def live_policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `policy_options`, with zones, the smallest face and what moves."""
    return policy_options(zone_options(moving_options(_files_only(command))))


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
    option(
        "--fps",
        type=click.FloatRange(0, 240, min_open=True),
        show_default="all",
        help="Frames per second that are used, at most.",
    ),
    DETECT_EVERY_OPTION,
    option(
        "--lookahead",
        type=click.IntRange(0, MAX_LOOKAHEAD),
        default=DEFAULT_LOOKAHEAD,
        metavar="N",
        help="Show everything N frames later (a second at most), and mask faces already before "
        "they are first found.",
    ),
    option(
        "--on-failure",
        type=click.Choice(get_args(OnFailure)),
        default="placeholder",
        help="What is shown while frames cannot be checked: a notice, or the last masked frame.",
    ),
    option(
        "--hardware-decoding",
        type=click.Choice(get_args(HardwareDecoding)),
        default="off",
        help="What decodes: auto is a device where that was measured to be faster; the CPU where "
        "a device does not work.",
    ),
)
"""What only cameras have, as keyword arguments of `CameraOptions`."""
