"""The `faceblur` command."""

from __future__ import annotations

import importlib
import os
from typing import Final

import click

# Before gRPC is imported: it would add lines of its own to our one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from faceblur.cli.base import FaceblurGroup
from faceblur.cli.process_list import hide_credentials
from faceblur.detection.triton.launcher import dump_nothing

EXIT_CODES = """
\b
Exit codes:
  0  everything was done
  1  some files of several failed or were not checked, and are named on stderr; attack: a mask
     did not hold; verify: a face shows
  2  the command line is invalid; verify: it could not tell, for whatever reason
  3  a file or an option cannot be used
  4  the result cannot be written
  5  the model cannot be used
  6  the detector failed: no server, no answer, a broken answer
  129, 130, 143  interrupted
"""


COMMANDS: Final = (
    "attack",
    "blur",
    "camera",
    "check",
    "doctor",
    "people",
    "run",
    "serve",
    "status",
    "test",
    "verify",
    "watch",
    "web",
)


class _Commands(FaceblurGroup):
    """Imports the command that is called, and no other: start-up is part of masking a clip."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"faceblur.cli.{cmd_name}"), cmd_name
        )
        return command


@click.group(cls=_Commands, epilog=EXIT_CODES)
@click.version_option(package_name="faceblur-triton", prog_name="faceblur")
def main() -> None:
    """Find faces in photos, videos and live cameras, and mask them."""
    dump_nothing()
    hide_credentials()
