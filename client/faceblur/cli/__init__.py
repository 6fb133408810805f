"""The `faceblur` command."""

from __future__ import annotations

import os

import click

# Before gRPC is imported: it would add lines of its own to our one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

from faceblur.cli.attack import attack
from faceblur.cli.blur import blur
from faceblur.cli.camera import camera
from faceblur.cli.check import check
from faceblur.cli.doctor import doctor
from faceblur.cli.run import run
from faceblur.cli.serve import serve
from faceblur.cli.status import status
from faceblur.cli.test import test
from faceblur.cli.verify import verify
from faceblur.clitools import FaceblurGroup

EXIT_CODES = """
\b
Exit codes:
  0  everything was done
  1  some files of several failed, each is named on stderr; attack: a mask did not hold;
     verify: a face shows
  2  the command line makes no sense; verify: it could not be found out, for whatever reason
  3  a file or an option cannot be used
  4  the result cannot be written
  5  the model cannot be used
  6  faces could not be looked for: no server, no answer, a broken answer
  130, 143  interrupted
"""


@click.group(cls=FaceblurGroup, epilog=EXIT_CODES)
@click.version_option(package_name="faceblur-triton", prog_name="faceblur")
def main() -> None:
    """Find faces in photos, videos and live cameras and mask them beyond recognition."""


main.add_command(blur)
main.add_command(serve)
main.add_command(doctor)
main.add_command(attack)
main.add_command(verify)
main.add_command(test)
main.add_command(camera)
main.add_command(run)
main.add_command(status)
main.add_command(check)
