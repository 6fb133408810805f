"""Command lines in the pages, and what the programs make of them without running anything."""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

import click

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = {
    "faceblur": "faceblur.cli",
    "faceblur-export": "faceblur_export.cli",
    "faceblur-train": "faceblur_training.cli.train",
}
SCRIPTS: Final = ("perf/run", "perf/versus", "perf/compare")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_BEFORE = re.compile(
    r"^(?:sudo |\$ |[A-Z_]+=\S+ |/usr/bin/time -v |docker compose .*?exec (?:-\w )*\S+ "
    r"|Exec\w+=|- |command: )+"
)
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_-]*(?:…|\.\.\.)?|…")


@dataclass(frozen=True)
class Line:
    """One command.

    Attributes:
        words: The program and its arguments.
        whole: It stands in a fence, so that nothing may be missing.
    """

    words: tuple[str, ...]
    whole: bool


def lines(page: str) -> Iterator[Line]:
    """The commands of a page that are ours."""
    for _, block in _FENCE.findall(page):
        for text in block.replace("\\\n", " ").splitlines():
            yield from _split(text.strip(), whole=True)
    for span in _SPAN.findall(_FENCE.sub("", page)):
        yield from _split(" ".join(span.split()), whole=False)


def _split(text: str, *, whole: bool) -> Iterator[Line]:
    for part in re.split(r"\s(?:&&|;)\s", text):
        part = _BEFORE.sub("", part.strip())
        if part.startswith("["):
            part = part.strip("[]").replace(", ", " ")
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            continue
        if not words:
            continue
        name = words[0] if words[0] in SCRIPTS else Path(words[0]).name
        # A name by itself is the program that a sentence speaks of.
        if name in (*PACKAGES, *SCRIPTS) and len(words) > 1:
            yield Line((name, *words[1:]), whole)


def fault(line: Line, settings: Mapping[str, str]) -> str | None:
    """What the program would say against a line, or None.

    Args:
        line: The command.
        settings: What `${NAME}` stands for.
    """
    name, *args = line.words
    args = [re.sub(r"\$\{(\w+)\}", lambda key: settings.get(key[1], key[0]), arg) for arg in args]
    quiet = io.StringIO()
    real: Callable[..., Any] = click.ParamType.__call__
    with (
        mock.patch.object(click.ParamType, "__call__", _lenient(real)),
        contextlib.redirect_stdout(quiet),
    ):
        try:
            _parse(program(name), name, args)
        except click.exceptions.Exit:
            return None
        except (click.MissingParameter, click.BadOptionUsage) as error:
            # A sentence may name an option without its value.
            return error.format_message() if line.whole else None
        except click.UsageError as error:
            return error.format_message()
    return None


def program(name: str) -> click.Command:
    """The click command of a program."""
    if name in PACKAGES:
        command = importlib.import_module(PACKAGES[name]).main
    else:
        module = "script_" + name.replace("/", "_")
        loader = importlib.machinery.SourceFileLoader(module, str(ROOT / name))
        spec = importlib.util.spec_from_loader(module, loader)
        assert spec is not None
        loaded = importlib.util.module_from_spec(spec)
        loader.exec_module(loaded)
        # A script that is one command has no group of its own.
        own = [each for each in vars(loaded).values() if isinstance(each, click.Command)]
        command = getattr(loaded, "main", own[0])
    assert isinstance(command, click.Command)
    return command


def options(command: click.Command) -> set[str]:
    """All option names of a command and those below it."""
    context = click.Context(command)
    params = command.get_params(context)
    found = {name for param in params for name in (*param.opts, *param.secondary_opts)}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                found |= options(below)
    return found


def _parse(command: click.Command, name: str, args: list[str]) -> None:
    if isinstance(command, click.Group) and args and not args[0].startswith("-"):
        context = click.Context(command, info_name=name)
        _, below, rest = command.resolve_command(context, args)
        assert below is not None
        _parse(below, f"{name} {args[0]}", rest)
        return
    command.make_context(name, args)


def _lenient(real: Callable[..., Any]) -> Callable[..., Any]:
    """Files need not be there, and a name in capitals stands for any value."""

    def call(self: click.ParamType, value: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(self, click.Path):
            return value if self.type is None else self.type(value)
        if isinstance(value, str) and isinstance(self, click.Choice) and "|" in value:
            return tuple(real(self, each, *rest, **named) for each in value.split("|"))
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value):
            return None
        return real(self, value, *rest, **named)

    return call
