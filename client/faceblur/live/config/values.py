"""Make the values of options out of what stands in a file, by the options' own types and checks."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from faceblur.errors import InputError
from faceblur.live.addresses import to_size
from faceblur.live.config.yaml_tree import Located, Problems

Value = TypeVar("Value")


def members(at: Located, what: str, problems: Problems) -> dict[str, Located]:
    """The named values of a section; one that is left empty has none."""
    if at.value is None:
        return {}
    if isinstance(at.value, dict):
        return at.value
    problems.add(at, f"must hold {what}, each as name: value, not {shown(at)}")
    return {}


def entries(at: Located, what: str, problems: Problems) -> list[Located]:
    """The entries of a list; one that is left empty has none."""
    if at.value is None:
        return []
    if isinstance(at.value, list):
        return at.value
    problems.add(at, f"must be a list of {what}, each after a dash, not {shown(at)}")
    return []


def known_only(
    section: Mapping[str, Located],
    known: Iterable[str],
    problems: Problems,
    hints: Mapping[str, str] | None = None,
) -> None:
    """Note every setting that does not exist."""
    names = list(known)
    for name, at in section.items():
        if name not in names:
            problems.unknown(at, names, hint=(hints or {}).get(name, ""))


def typed(
    section: Mapping[str, Located], types_: Mapping[str, Any], problems: Problems
) -> dict[str, Any]:
    """Take the settings that have a type, converted; those of a wrong type are noted."""
    taken = {}
    for name, hint in types_.items():
        if name not in section:
            continue
        try:
            taken[name] = coerce(section[name], hint)
        except InputError as error:
            problems.add(section[name], str(error))
    return taken


def build(
    make: Callable[..., Value],
    settings: Mapping[str, Any],
    places: Mapping[str, Located],
    at: Located,
    problems: Problems,
    **others: Any,
) -> Value | None:
    """Make a value, and if it cannot be made, note the settings that are to blame.

    Args:
        make: Raises an `InputError` where settings make no sense.
        settings: What `make` is given.
        places: Where each setting stands.
        at: What to blame if no setting alone is at fault.
        problems: Where to note it.
        others: What `make` needs and no setting says.
    """
    left, failed = dict(settings), False
    while True:
        try:
            value = make(**others, **left)
        except InputError as error:
            failed = True
            blamed = [name for name in left if _says(make, others, name, left[name], str(error))]
            if not blamed:
                problems.add(at, str(error))
                return None
            problems.add(places[blamed[0]], str(error))
            del left[blamed[0]]
        else:
            return None if failed else value


def _says(
    make: Callable[..., Any], others: Mapping[str, Any], name: str, value: object, text: str
) -> bool:
    """Whether a setting alone gives rise to the same error."""
    try:
        make(**others, **{name: value})
    except InputError as error:
        return str(error) == text
    return False


def coerce(at: Located, hint: Any) -> Any:
    """A value as a type wants it.

    Raises:
        InputError: It is something else.
    """
    value = at.value
    if get_origin(hint) in (Union, types.UnionType):
        wanted = [each for each in get_args(hint) if each is not type(None)]
        if value is None and len(wanted) < len(get_args(hint)):
            return None
        hint = wanted[0]
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise InputError(f"must be {_either(get_args(hint))}, not {shown(at)}")
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif hint in (str, Path) and isinstance(value, str) and value:
        return hint(value)
    elif get_origin(hint) is tuple and isinstance(value, str):
        return to_size(value, at.where)
    raise InputError(f"must be {_KINDS.get(hint, 'a size such as 640x360')}, not {shown(at)}")


def shown(at: Located) -> str:
    """A value for error messages; never all of a long one."""
    value = at.value
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "the path of a file",
}


def _either(choices: tuple[Any, ...]) -> str:
    *most, last = map(str, choices)
    return f"{', '.join(most)} or {last}" if most else last
