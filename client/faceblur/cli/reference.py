"""`python -m faceblur.cli.reference`: the command-line reference, as docs/cli.md shows it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

PROGRAMS = {
    "faceblur": "faceblur.cli",
    "faceblur-export": "faceblur_export.cli",
    "faceblur-train": "faceblur_training.cli.train",
}
WIDTH = 88


def reference() -> str:
    """The help of every command of every program, as Markdown."""
    parts = [
        "# Command-line reference\n\nWritten by `python -m faceblur.cli.reference > docs/cli.md`."
    ]
    for program, module in PROGRAMS.items():
        command: click.Command = importlib.import_module(module).main
        parts += [
            f"## {name}\n\n```\n{_help(each, name)}\n```" for name, each in walk(command, program)
        ]
    return "\n\n".join(parts) + "\n"


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, with the names that are typed."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in sorted(command.list_commands(context)):
            if (known := command.get_command(context, each)) is not None:
                yield from walk(known, f"{name} {each}")


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, max_content_width=WIDTH, terminal_width=WIDTH)
    return command.get_help(context)


if __name__ == "__main__":
    click.echo(reference(), nl=False)
