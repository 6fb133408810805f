"""What the command lines of this distribution share: errors as one sentence, and logging."""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from types import FrameType
from typing import Any

import click

from faceblur.errors import FaceblurError
from faceblur.live.redaction import RedactingFilter
from faceblur.loopback import keep_proxies_away


class FaceblurGroup(click.Group):
    """A click group that ends with one sentence on stderr and the error's exit code.

    SIGTERM unwinds like Ctrl-C, so that temporary files and child processes are cleaned up.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; see click.Group.invoke."""
        signal.signal(signal.SIGTERM, _exit_on_signal)
        # It warns of odd tags in files that open all the same.
        warnings.filterwarnings("ignore", module="PIL")
        keep_proxies_away()
        try:
            return super().invoke(ctx)
        except FaceblurError as error:
            click.echo(f"{ctx.info_name}: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            # Whoever read our output has gone; there is nobody left to tell.
            sys.stderr.close()
            sys.exit(1)


def configure_logging(*, verbose: bool, quiet: bool) -> None:
    """Send the package's log to stderr: warnings, with --verbose everything, --quiet errors."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("faceblur: %(message)s"))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger("faceblur")
    root.handlers = [handler]
    root.setLevel(level)


def _exit_on_signal(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
