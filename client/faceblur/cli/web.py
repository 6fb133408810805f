"""`faceblur web`: a page of this machine, for photos and videos."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import threading
import webbrowser
from pathlib import Path
from typing import Final, Literal

import click

from faceblur.cli.options import FilePath, logging_options, option, session_options
from faceblur.cli.policy_options import policy_options
from faceblur.cli.sections import sectioned
from faceblur.detection.session import SessionOptions
from faceblur.errors import InputError, install_line
from faceblur.masks.policy import Policy
from faceblur.stores.address import Address
from faceblur.web.options import TOKEN_VARIABLE, Tls, WebOptions
from faceblur.web.receivers import SECRET_VARIABLE, Receivers

_OPTIONS: Final = (
    "--port --no-browser --keep-minutes --host --https-cert --https-key --https-self-signed "
    "--webhook-host --fetch-from --write-to --cameras"
)


@click.command(cls=sectioned("The page", _OPTIONS))
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Where to listen.",
)
@option("--no-browser", is_flag=True, help="Open no browser; only print the address.")
@option(
    "--keep-minutes",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    metavar="MINUTES",
    help="Delete finished files after this time.",
)
@option(
    "--host",
    default="127.0.0.1",
    help="Where to listen; anything but this machine alone needs encryption: --https-…",
)
@option("--https-cert", type=FilePath, help="Encrypt with this certificate, in PEM.")
@option("--https-key", type=FilePath, help="Its key, in PEM, if it is in another file.")
@option(
    "--https-self-signed",
    is_flag=True,
    help="Encrypt with a certificate made at the start, whose fingerprint is shown.",
)
@option(
    "--webhook-host",
    "webhook_hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Programs may have files that are finished told there; repeatable.",
)
@option(
    "--fetch-from",
    multiple=True,
    metavar="ADDRESS",
    help="Programs may have files of this folder fetched, such as s3://bucket/in; repeatable.",
)
@option(
    "--write-to",
    multiple=True,
    metavar="ADDRESS",
    help="Programs may have results written into this folder, such as s3://bucket/out; repeatable.",
)
@option(
    "--cameras",
    type=FilePath,
    metavar="CAMERAS.YAML",
    help="Show the cameras of this file, which faceblur run runs, and add others to it.",
)
@policy_options
@session_options
@logging_options
def web(
    *,
    port: int,
    no_browser: bool,
    keep_minutes: float,
    host: str,
    https_cert: Path | None,
    https_key: Path | None,
    https_self_signed: bool,
    webhook_hosts: tuple[str, ...],
    fetch_from: tuple[str, ...],
    write_to: tuple[str, ...],
    cameras: Path | None,
    policy: Policy,
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Open a page for people who want no command line: drop photos and videos, save them masked.

    The page is of this machine, and nobody else can reach it unless you say so; nothing leaves it.
    The address works once. Ctrl-C ends it and deletes all files that it still has. Programs may ask
    for the same, with the token in FACEBLUR_WEB_TOKEN.
    """
    needed = ("starlette", "uvicorn")
    if any(importlib.util.find_spec(name) is None for name in needed):
        raise InputError(f"the page needs Starlette and uvicorn; first run: {install_line('web')}")
    detection = dataclasses.replace(policy.detection, deadline_s=session.deadline_s)
    options = WebOptions(
        policy=dataclasses.replace(policy, detection=detection),
        session=session,
        host=host,
        port=port,
        keep_s=60 * keep_minutes,
        cameras=cameras,
        token=_secret(TOKEN_VARIABLE) or None,
        tls=_tls(https_cert, https_key, self_signed=https_self_signed),
        folders=_folders(fetch_from, "source"),
        outputs=_folders(write_to, "output"),
        receivers=Receivers(
            hosts=frozenset(host.lower() for host in webhook_hosts),
            secret=_secret(SECRET_VARIABLE),
        ),
    )
    from faceblur.web.server import serve

    def show(address: str) -> None:
        click.echo(address)
        if not quiet:
            click.echo("Ctrl-C here ends the page and deletes what it still has.", err=True)
        if not no_browser:
            # A browser for the terminal would stay in the foreground.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    def tell(fingerprint: str) -> None:
        click.echo(
            "Nobody vouches for the certificate of this page, so browsers warn of it. It is this "
            f"one if they show the SHA-256 fingerprint {fingerprint}",
            err=True,
        )

    serve(options, on_listening=show, on_certificate=tell)


def _tls(certificate: Path | None, key: Path | None, *, self_signed: bool) -> Tls | None:
    if not self_signed and certificate is None and key is None:
        return None
    if self_signed and (certificate is not None or key is not None):
        raise InputError(
            "--https-self-signed makes its own: leave out --https-cert and --https-key"
        )
    if importlib.util.find_spec("cryptography") is None:
        raise InputError(f"encryption needs cryptography; first run: {install_line('web')}")
    return Tls(certificate=certificate, key=key)


def _folders(texts: tuple[str, ...], use: Literal["source", "output"]) -> tuple[Address, ...]:
    if not texts:
        return ()
    from faceblur.web.jobs.stored import OUTPUT, SOURCE, allowed_folders

    return allowed_folders(texts, SOURCE if use == "source" else OUTPUT)


def _secret(variable: str) -> str:
    """What the environment holds for this process alone, and not for those that it starts."""
    return os.environ.pop(variable, "")
