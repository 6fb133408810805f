"""`python -m faceblur`."""

from __future__ import annotations

from faceblur.cli import main

main(prog_name="faceblur")
