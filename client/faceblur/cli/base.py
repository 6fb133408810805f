"""What the command lines of this distribution share: errors as one sentence, and logging."""

from __future__ import annotations

import copy
import io
import logging
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import click

from faceblur.detection.triton.loopback import keep_proxies_away
from faceblur.errors import FaceblurError, exhaustion
from faceblur.redaction import RedactingFilter, printable

logger = logging.getLogger(__name__)


class FaceblurGroup(click.Group):
    """A click group that ends with one sentence on stderr and the error's exit code.

    SIGTERM and SIGHUP unwind like Ctrl-C, so that temporary files and child processes are
    cleaned up.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn what it raises into a sentence and an exit code."""
        _unwind_on_signals()
        _print_anything()
        # It warns of odd tags in files that open all the same.
        warnings.filterwarnings("ignore", module="PIL")
        keep_proxies_away()
        arguments = [*ctx._protected_args, *ctx.args]
        try:
            return self._invoke(ctx)
        except click.NoSuchOption as error:
            raise _hinting(error, arguments) from error
        except FaceblurError as error:
            text = printable(error, lines=error.several_lines)
            click.echo(f"{ctx.info_name}: {text}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo(f"{ctx.info_name}: interrupted", err=True)
            sys.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # The reader of our output has gone; nobody is left to tell.
            sys.stderr.close()
            sys.exit(1)
        except (OSError, MemoryError, RuntimeError) as error:
            sentence = exhaustion(error)
            if sentence is None:
                raise
            click.echo(f"{ctx.info_name}: {sentence}", err=True)
            sys.exit(FaceblurError.exit_code)

    def _invoke(self, ctx: click.Context) -> Any:
        """Run the command; what fails on the way out after a signal is no error of its own."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            behind: BaseException | None = error
            while behind is not None and not isinstance(behind, (KeyboardInterrupt, SystemExit)):
                behind = behind.__context__
            if behind is None:
                raise
            logger.debug("failed while it was interrupted", exc_info=error)
            raise behind from None


def configure_logging(*, verbose: bool, quiet: bool) -> None:
    """Send the package's log to stderr: warnings, with --verbose everything, --quiet errors."""
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("faceblur: %(message)s"))
    handler.addFilter(RedactingFilter())
    root = logging.getLogger("faceblur")
    handler.setLevel(level)
    root.handlers = [handler]
    # The page says what is warned of, whether or not the terminal does.
    root.setLevel(min(level, logging.WARNING))


def _hinting(error: click.NoSuchOption, arguments: list[str]) -> click.UsageError:
    """The same error, or what to do where a file was taken for options."""
    for text in arguments:
        if text.startswith("-") and Path(text).exists():
            return click.UsageError(
                f"{printable(text)} begins with a dash, and counts as an option: put -- before it, "
                f"or call it ./{printable(text)}",
                error.ctx,
            )
    return error


class _Formatter(logging.Formatter):
    """Lets no name of a file reach the terminal as it is."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy.copy(record)
        if isinstance(record.args, tuple):
            record.args = tuple(_fit(value) for value in record.args)
        return printable(super().format(record), lines=True)


def _fit(value: object) -> object:
    if isinstance(value, FaceblurError):
        return printable(value, lines=value.several_lines)
    return printable(value) if isinstance(value, Path) else value


def _unwind_on_signals() -> None:
    signal.signal(signal.SIGTERM, _exit_on_signal)
    # A terminal that closes; nohup has it ignored, and that stays so.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _exit_on_signal)


def _print_anything() -> None:
    """Write what the encoding of the terminal lacks, such as names in other scripts, as codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _exit_on_signal(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
