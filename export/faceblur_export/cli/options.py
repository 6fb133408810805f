"""Options that several commands of `faceblur-export` have."""

from __future__ import annotations

import click

from faceblur.cli.options import FilePath

precision_option = click.option(
    "--precision",
    type=click.Choice(["fp16", "fp32", "int8"]),
    default="fp16",
    show_default=True,
    help="Of the plan. FP16 is made of an FP32 model; INT8 needs an INT8 model that passed "
    "`faceblur-export gate`.",
)
data_option = click.option(
    "--data",
    type=FilePath,
    help="Labelled images to hold FP16 or INT8 against FP32 by, before it goes in.",
)


or_bundled_option = click.option(
    "--or-bundled",
    is_flag=True,
    help="Where the official weights cannot be had, warn and go on with the bundled model.",
)
