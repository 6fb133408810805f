"""Options that several commands share, each bundle handed to the command as one value."""

from __future__ import annotations

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
from faceblur.redaction import redact

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class _FilePath(click.Path):
    """The name of a file of this machine: an address would become a strange folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and "://" in value and not Path(value).exists():
            self.fail(f"{redact(value)} is an address: give a file of this machine", param, ctx)
        return super().convert(value, param, ctx)


FilePath = _FilePath(path_type=Path)
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
