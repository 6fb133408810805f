"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from faceblur.connection import TLS, TRANSPORTS
from faceblur.defaults import DEFAULT_SERVER, DEFAULT_SIZE, DEFAULT_THRESHOLD

Command = TypeVar("Command", bound=Callable[..., Any])
FilePath = click.Path(path_type=Path)


def _stack(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def apply(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


def detection_options(command: Command) -> Command:
    """--model, --threshold, --size."""
    return _stack(
        click.option("--model", help="Name of a model, or an ONNX file. [default: bundled]"),
        click.option(
            "--threshold",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            default=DEFAULT_THRESHOLD,
            show_default=True,
            help="Lowest score that counts as a face; lower finds more.",
        ),
        click.option(
            "--size",
            type=click.IntRange(min=64, max=8192),
            default=DEFAULT_SIZE,
            show_default=True,
            help="Longest side of the picture given to the network; larger finds smaller faces.",
        ),
    )(command)


def server_options(command: Command) -> Command:
    """--server, --deadline, --transport, --tls…"""
    return _stack(
        click.option(
            "--server",
            metavar="HOST:PORT",
            help=f"A Triton server. [default: {DEFAULT_SERVER} if it answers, else an embedded one]",
        ),
        click.option(
            "--deadline",
            "deadline_s",
            type=click.FloatRange(0, min_open=True),
            default=10.0,
            show_default=True,
            metavar="SECONDS",
            help="How long one frame may take before it counts as not checked.",
        ),
        click.option(
            "--transport",
            type=click.Choice(TRANSPORTS),
            default="auto",
            show_default=True,
            help="How pictures travel to the server.",
        ),
        click.option("--tls", is_flag=True, help="Encrypt the connection to --server."),
        click.option("--tls-ca", type=FilePath, help="PEM file of the server's authority."),
        click.option("--tls-cert", type=FilePath, help="PEM file of this client's certificate."),
        click.option("--tls-key", type=FilePath, help="PEM file of its private key."),
    )(command)


def logging_options(command: Command) -> Command:
    """--quiet, --verbose."""
    return _stack(
        click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors."),
        click.option("-v", "--verbose", is_flag=True, help="Say everything."),
    )(command)


def tls_from(
    *, tls: bool, tls_ca: Path | None, tls_cert: Path | None, tls_key: Path | None
) -> TLS | None:
    """The encryption that the --tls options ask for."""
    if not (tls or tls_ca or tls_cert or tls_key):
        return None
    return TLS(root_ca=tls_ca, certificate=tls_cert, key=tls_key)
