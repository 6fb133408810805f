"""Options that several commands share, each bundle handed to the command as one value.

One module: the bundles stand on `bundle` and on each other, and commands take several of them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

from faceblur.cli.base import configure_logging
from faceblur.detection.options import (
    DEFAULT_SIZE,
    DEFAULT_THRESHOLD,
    LARGEST_SIZE,
    DetectionOptions,
    Tiles,
)
from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.connection import DEFAULT_SERVER, TLS, TRANSPORTS, Transport
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.masks.spans import Effect, Span
from faceblur.masks.style import MaskMode, MaskShape, MaskStyle
from faceblur.masks.zones import Kind, Zone
from faceblur.moving.options import MAX_HOLD_S, MovingOptions
from faceblur.times import TimeSpan
from faceblur.tracking import TrackingOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
FilePath = click.Path(path_type=Path)
option = functools.partial(click.option, show_default=True)


def bundle(name: str, build: Callable[..., Any], *options: Decorator) -> Decorator:
    """Make a decorator that adds options to a command and hands it one value made of them.

    Args:
        name: The command's parameter that gets the value.
        build: Makes the value; its parameters are the names of the options.
        options: What `option` gave.
    """
    parameters = list(inspect.signature(build).parameters)

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def with_bundle(**values: Any) -> Any:
            value = build(**{parameter: values.pop(parameter) for parameter in parameters})
            return command(**values, **{name: value})

        decorated: Callable[..., Any] = with_bundle
        for each in reversed(options):
            decorated = each(decorated)
        return decorated

    return decorate


def given() -> set[str]:
    """The parameters of the running command that were given, not left at their defaults."""
    context = click.get_current_context()
    defaults = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None)
    return {name for name in context.params if context.get_parameter_source(name) not in defaults}


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


def threshold_option(
    text: str = "Lowest score that counts as a face; lower finds more.",
) -> Decorator:
    """--threshold, with what the command uses it for."""
    return option(
        "--threshold",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=DEFAULT_THRESHOLD,
        help=text,
    )


SIZE_OPTION = option(
    "--size",
    type=click.IntRange(min=64, max=LARGEST_SIZE),
    default=DEFAULT_SIZE,
    help="Longest side of the model input, pixels; larger finds smaller faces.",
)

TILES_OPTION = option(
    "--tiles",
    type=click.Choice(get_args(Tiles)),
    default="auto",
    help="Detect in parts of large images and frames too, to find small faces; fine takes longer.",
)


def _detection(threshold: float, size: int, tiles: Tiles) -> DetectionOptions:
    return DetectionOptions(threshold=threshold, size=size, tiles=tiles)


detection_options = bundle("detection", _detection, threshold_option(), SIZE_OPTION, TILES_OPTION)
"""--threshold, --size and --tiles, as `DetectionOptions`."""

verified_options = bundle(
    "detection",
    _detection,
    threshold_option(
        "Lowest score that counts as a face; down to half of it regions are doubtful."
    ),
    SIZE_OPTION,
    TILES_OPTION,
)
"""The same for `faceblur verify`."""

DETECT_EVERY_OPTION = option(
    "--detect-every",
    type=click.IntRange(1, 30),
    default=1,
    metavar="N",
    help="Run detection on every Nth frame and follow faces in between; faster, less sure.",
)
"""For videos and cameras alike."""


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


def _tls(tls: bool, tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None) -> TLS | None:
    if not (tls or tls_ca or tls_cert or tls_key):
        return None
    return TLS(root_ca=tls_ca, certificate=tls_cert, key=tls_key)


TLS_OPTIONS = (
    option("--tls", is_flag=True, help="Encrypt the connection to --server."),
    option("--tls-ca", type=FilePath, help="PEM file of the server's authority."),
    option("--tls-cert", type=FilePath, help="PEM file of this client's certificate."),
    option("--tls-key", type=FilePath, help="PEM file of its private key."),
)

SERVER_OPTION = option(
    "--server",
    metavar="HOST:PORT",
    show_default=f"{DEFAULT_SERVER} if it answers, else an embedded one",
    help="A Triton server.",
)

tls_options = bundle("tls", _tls, *TLS_OPTIONS)
"""--tls, --tls-ca, --tls-cert, --tls-key, as a `TLS` or None."""


def _session(
    server: str | None,
    model: str | None,
    deadline_s: float,
    transport: Transport,
    in_process: bool,
    tls: TLS | None,
) -> SessionOptions:
    if tls is not None and server is None:
        raise InputError("the --tls options are for a server; name it with --server")
    if in_process and server is not None:
        raise InputError("--in-process uses no server; leave out --server")
    return SessionOptions(
        server=server,
        model=model,
        tls=tls,
        deadline_s=deadline_s,
        transport=transport,
        in_process=in_process,
    )


def session_options_with(deadline_s: float) -> Decorator:
    """`session_options` with another default of --deadline, seconds."""
    with_session = bundle(
        "session",
        _session,
        SERVER_OPTION,
        option(
            "--model",
            help="bundled (default for images), fast (default for videos and cameras), the name "
            "of a fetched model, or an ONNX file.",
            show_default=False,
        ),
        option(
            "--deadline",
            "deadline_s",
            type=click.FloatRange(0, min_open=True),
            default=deadline_s,
            metavar="SECONDS",
            help="How long one frame may take before it counts as not checked.",
        ),
        option(
            "--transport",
            type=click.Choice(TRANSPORTS),
            default="auto",
            help="How images travel to the server: as pixels in shared memory (shm) or in the "
            "message (raw), or as JPEG. auto takes the fastest.",
        ),
        option(
            "--in-process",
            is_flag=True,
            help="Use no server: starts sooner, and takes less CPU time on one machine.",
        ),
    )
    return lambda command: tls_options(with_session(command))


session_options = session_options_with(10.0)
"""All about where faces are found: --server, --model and so on, as `SessionOptions`."""


def _quiet(quiet: bool, verbose: bool) -> bool:
    configure_logging(verbose=verbose, quiet=quiet)
    return quiet


logging_options = bundle(
    "quiet",
    _quiet,
    option("-q", "--quiet", is_flag=True, help="Print only errors."),
    option("-v", "--verbose", is_flag=True, help="Print everything."),
)
"""--quiet and --verbose, which set up the log; the command gets `quiet`."""
