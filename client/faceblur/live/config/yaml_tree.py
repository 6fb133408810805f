"""YAML whose every value knows its line, and problems that say where they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import yaml

from faceblur.errors import InputError
from faceblur.schema.conversion import build
from faceblur.schema.mistakes import MistakesError, listed, nearest, shown

Value = TypeVar("Value")

_MAX_DEPTH: Final = 12
_MAX_VALUES: Final = 50_000
"""Aliases make a short file large."""

_TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
)


class _Loader(yaml.SafeLoader):
    """Scalars as in YAML 1.2: `off` is a word and `1:30` is a text."""


_Loader.yaml_implicit_resolvers = {}

for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


class ConfigError(InputError):
    """A configuration that cannot be used; the message has a line for each problem."""

    several_lines = True


@dataclass(frozen=True)
class Located:
    """A value and where it stands.

    Attributes:
        value: A text, number, flag or None; a list of `Located`; or a dict of them.
        line: In the file, from 1.
        where: The part of the file for people, such as `camera "door"`; empty at the top.
        key: Its name within that part, such as `mask.expand`.
    """

    value: Any
    line: int
    where: str = ""
    key: str = ""

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {name: member.plain() for name, member in self.value.items()}
        if isinstance(self.value, list):
            return [member.plain() for member in self.value]
        return self.value

    def at(self, path: Iterable[str | int]) -> Located:
        """The part of it that a path leads to, as far as it is there."""
        part = self
        for step in path:
            inside = part.value
            if isinstance(inside, list):
                inside = dict(enumerate(inside))
            if not isinstance(inside, dict) or step not in inside:
                break
            part = inside[step]
        return part


@dataclass
class Problems:
    """Everything that is wrong with a file, collected; the `secrets` in it are not shown."""

    file: str
    secrets: set[str] = field(default_factory=set)
    _found: list[tuple[int, str]] = field(default_factory=list)
    _odd: list[tuple[int, str]] = field(default_factory=list)

    def add(self, at: Located, text: str) -> None:
        """Note a problem with a value."""
        self.add_line(at.line, _placed(at, text))

    def add_line(self, line: int, text: str) -> None:
        """Note a problem in a line."""
        self._note(self._found, line, text)

    def warn(self, at: Located, text: str) -> None:
        """Note that a value can be used but is hardly meant."""
        self._note(self._odd, at.line, _placed(at, text))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What `warn` was told, each with its line, in the file's order."""
        return tuple(f"{self.file}:{line}: {text}" for line, text in sorted(self._odd))

    def _note(self, notes: list[tuple[int, str]], line: int, text: str) -> None:
        for secret in self.secrets:
            text = text.replace(secret, "***")
        # Defaults are read for each camera.
        if (line, text) not in notes:
            notes.append((line, text))

    def members(self, at: Located, what: str) -> dict[str, Located]:
        """The named values of a section; one that is left empty has none."""
        self._check(at, dict, f"hold {what}, each as name: value")
        return at.value if isinstance(at.value, dict) else {}

    def entries(self, at: Located, what: str) -> list[Located]:
        """The entries of a list; one that is left empty has none."""
        self._check(at, list, f"be a list of {what}, each after a dash")
        return at.value if isinstance(at.value, list) else []

    def _check(self, at: Located, kind: type, wanted: str) -> None:
        if not isinstance(at.value, kind | None):
            self.add(at, f"must {wanted}, not {shown(at.plain())}")

    def known(
        self,
        section: Mapping[str, Located],
        known: Iterable[str],
        hints: Mapping[str, str] | None = None,
    ) -> dict[str, Located]:
        """The settings that exist; every other is noted."""
        names = list(known)
        for name in section.keys() - names:
            advice = (hints or {}).get(name) or nearest(name, names)
            self.add(section[name], f"no such setting; {advice}")
        return {name: at for name, at in section.items() if name in names}

    def build(
        self,
        kind: Callable[..., Value],
        settings: Mapping[str, Located],
        at: Located,
        make: Callable[..., Value] | None = None,
    ) -> Value | None:
        """Make a value as `build` does; None if it cannot be made, for reasons noted.

        Args:
            kind: A dataclass.
            settings: Those of its settings that are given.
            at: What to blame if no setting alone is at fault.
            make: Makes the value; `kind` itself when None.
        """
        plain = {name: each.plain() for name, each in settings.items()}
        try:
            return build(kind, plain, make)
        except MistakesError as error:
            whole = Located(dict(settings), at.line, at.where, at.key)
            for mistake in error.mistakes:
                text = mistake.text
                if mistake.kind == "unknown":
                    text = f"no such setting; {text.partition('; ')[2]}"
                self.add(whole.at(mistake.path), text)
        return None

    def raise_any(self) -> None:
        """Raise what was collected.

        Raises:
            ConfigError: There was something.
        """
        if not self._found:
            return
        lines = [f"{self.file}:{line}: {text}" for line, text in sorted(self._found)]
        raise ConfigError(listed(self.file, lines))


def read_tree(text: str, problems: Problems) -> Located:
    """Parse YAML; problems of its form are noted and what they concern is left out.

    Raises:
        ConfigError: It is no YAML at all.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        budget = iter(range(_MAX_VALUES))
        if node is None:
            return Located({}, 1)
        return _located(node, loader, problems, budget, depth=0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problems.add_line(line, f"not YAML: {error.problem or error.context}")
    except RecursionError:
        problems.add_line(1, "not YAML: nested too deeply")
    except (yaml.YAMLError, ValueError) as error:
        problems.add_line(1, f"not YAML: {error}".splitlines()[0])
    finally:
        loader.dispose()
    problems.raise_any()
    raise AssertionError


def compose(text: str) -> yaml.Node | None:
    """The nodes of a text that `read_tree` takes, with their places; None if it has none."""
    loader = _Loader(text)
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


def _placed(at: Located, text: str) -> str:
    return ": ".join(part for part in (at.where, at.key, text) if part)


def place(tree: Located, where: str, key: str = "") -> Located:
    """The same value, knowing which part of the file it is."""
    value = tree.value
    if isinstance(value, dict):
        value = {
            name: place(member, where, f"{key}.{name}" if key else name)
            for name, member in value.items()
        }
    elif isinstance(value, list):
        value = [place(member, where, f"{key}[{i}]") for i, member in enumerate(value)]
    return Located(value, tree.line, where, key)


def _located(
    node: Any, loader: _Loader, problems: Problems, budget: Iterator[int], *, depth: int
) -> Located:
    line = node.start_mark.line + 1
    if depth > _MAX_DEPTH or next(budget, None) is None:
        raise yaml.MarkedYAMLError(
            problem="nested too deeply, or too many values", problem_mark=node.start_mark
        )
    if node.tag not in _TAGS:
        problems.add_line(line, f"the tag {node.tag} is not allowed")
        return Located(None, line)
    if isinstance(node, yaml.MappingNode):
        members: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            if name in members:
                problems.add_line(key_line, f"{name}: given twice, first in line "
                                  f"{members[name].line}")  # fmt: skip
                continue
            member = _located(value_node, loader, problems, budget, depth=depth + 1)
            members[name] = Located(member.value, key_line)
        return Located(members, line)
    if isinstance(node, yaml.SequenceNode):
        return Located(
            [_located(each, loader, problems, budget, depth=depth + 1) for each in node.value], line
        )
    try:
        return Located(loader.construct_object(node), line)
    except yaml.MarkedYAMLError as error:
        problems.add_line(line, f"not a value: {error.problem}")
    except ValueError as error:
        problems.add_line(line, f"not a value: {error}")
    return Located(None, line)
