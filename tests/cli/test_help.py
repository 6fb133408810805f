"""The help of every command, by sections."""

from __future__ import annotations

import importlib
import re

import click
import pytest
from click.testing import CliRunner

from faceblur.cli.reference import PROGRAMS, walk
from faceblur.cli.sections import REST, SECTIONS, SectionedCommand, sectioned

COMMANDS = {
    name: command
    for program, module in PROGRAMS.items()
    for name, command in walk(importlib.import_module(module).main, program)
    if isinstance(command, SectionedCommand)
}


def _sections(command: click.Command) -> dict[str, list[str]]:
    """Title and options of the help, as they stand there."""
    found: dict[str, list[str]] = {}
    for line in CliRunner().invoke(command, ["--help"]).output.splitlines():
        if title := re.fullmatch(r"(\w.*):", line):
            found[title[1]] = []
        elif option := re.match(r"  (?:-\w, )?(--[\w-]+)", line):
            list(found.values())[-1].append(option[1])
    return found


def test_blur_shows_the_ten_most_used_options_and_then_the_others_by_subject() -> None:
    found = _sections(COMMANDS["faceblur blur"])
    assert list(found) == ["Most used", *SECTIONS]
    assert len(found["Most used"]) == 10
    assert min(map(len, found.values())) >= 3


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_without_a_section_or_in_two(name: str) -> None:
    found = _sections(COMMANDS[name])
    assert REST not in found
    shown = [option for options in found.values() for option in options]
    context = click.Context(COMMANDS[name])
    named = [
        param
        for param in COMMANDS[name].get_params(context)
        if param.opts[0][0] == "-" and not getattr(param, "hidden", False)
    ]
    assert len(shown) == len(set(shown)) == len(named)


def test_every_option_that_a_section_names_exists() -> None:
    known = {
        opt
        for each in COMMANDS.values()
        for param in each.get_params(click.Context(each))
        for opt in param.opts
    }
    for command in COMMANDS.values():
        assert not set(" ".join(command.sections.values()).split()) - known


def test_an_option_that_no_section_names_shows_all_the_same() -> None:
    @click.command(cls=sectioned("First", "--named --absent", {}))
    @click.option("--forgotten")
    @click.option("--named")
    def command() -> None: ...

    assert _sections(command) == {"First": ["--named"], REST: ["--forgotten", "--help"]}
