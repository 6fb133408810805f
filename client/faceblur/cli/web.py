"""`faceblur web`: a page of this machine, for photos and videos."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import threading
import webbrowser

import click

from faceblur.cli.options import logging_options, option, session_options
from faceblur.cli.policy_options import policy_options
from faceblur.cli.sections import sectioned
from faceblur.detection.session import SessionOptions
from faceblur.errors import InputError, install_line
from faceblur.masks.policy import Policy
from faceblur.web.options import TOKEN_VARIABLE, WebOptions


@click.command(cls=sectioned("The page", "--port --no-browser --keep-minutes --host"))
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
@option("--host", default="127.0.0.1", help="Must be this machine.")
@policy_options
@session_options
@logging_options
def web(
    *,
    port: int,
    no_browser: bool,
    keep_minutes: float,
    host: str,
    policy: Policy,
    session: SessionOptions,
    quiet: bool,
) -> None:
    """Open a page for people who want no command line: drop photos and videos, save them masked.

    The page is of this machine, and nobody else can reach it; nothing leaves it. The address works
    once. Ctrl-C ends it and deletes all files that it still has.
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
        token=os.environ.get(TOKEN_VARIABLE) or None,
    )
    from faceblur.web.server import serve

    def show(address: str) -> None:
        click.echo(address)
        if not quiet:
            click.echo("Ctrl-C here ends the page and deletes what it still has.", err=True)
        if not no_browser:
            # A browser for the terminal would stay in the foreground.
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    serve(options, on_listening=show)
