"""Plain dataclasses from and to JSON and YAML that people edit, with every mistake at once.

A class says what it holds by the types of its fields, and what is allowed by the `InputError` of
its `__post_init__`. A type that is written in a way of its own is told to `register`.

Classes and lists are put together here and not by cattrs: after the first error in a class it stops
short of that class's own checks.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import cycle
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from faceblur.errors import InputError
from faceblur.schema.mistakes import Mistake, MistakesError, WrongTypeError, located, nearest
from faceblur.schema.values import BASIC, named

if TYPE_CHECKING:
    from cattrs import Converter

Value = TypeVar("Value")


def register(
    kind: Any, *, read: Callable[[Any], Any], write: Callable[[Any], Any] = lambda value: value
) -> None:
    """Say how values of a type, as it stands at a field, are written in JSON.

    What reads them raises an `InputError`, such as `WrongTypeError`.
    """
    _REGISTERED.append((kind, read, write))
    for made in (_converter, _reader, _members):
        made.cache_clear()


def to_json(value: object) -> Any:
    """A dataclass in values that JSON has; the same for equal ones."""
    return _converter().unstructure(value)


def from_json(value: object, kind: type[Value], where: str) -> Value:
    """The inverse of `to_json`; what is left out has its default.

    Args:
        value: As `json.loads` gives it.
        kind: What it should be.
        where: What to call it in errors.

    Raises:
        InputError: It is something else; the message names every mistake.
    """
    try:
        return cast(Value, _reader(cast(Any, kind))(value))
    except InputError as error:
        raise MistakesError(located(error), where) from error


def build(
    kind: Callable[..., Value],
    settings: Mapping[str, Any],
    make: Callable[..., Value] | None = None,
) -> Value:
    """Make a value of settings, and if it cannot be made, find every setting that is to blame.

    Args:
        kind: A dataclass that has these settings. If its `more_allowed` is true, others do no harm.
            Its `written_as` has the names of fields that are called otherwise in JSON; both are
            read. Its `inlined` has the fields that are dataclasses themselves, whose settings
            stand among its own, and which of these do.
        settings: As JSON or YAML gives them, or as the dataclass has them.
        make: Makes the value, all settings being optional; the class itself when None.

    Raises:
        MistakesError: Something is wrong.
    """
    members, needed = _members(cast(Any, kind))
    whole, make = make is None, make or partial(_assembled, cast(Any, kind))
    fields = {written: name for name, written in getattr(kind, "written_as", {}).items()}
    settings = {fields.get(name, name): value for name, value in settings.items()}
    taken: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for name, value in settings.items():
        if name in members:
            try:
                taken[name] = members[name](value)
            except InputError as error:
                mistakes += located(error, name)
        elif not getattr(kind, "more_allowed", False):
            text = f"has no setting {name!r}; {nearest(name, members)}"
            mistakes.append(Mistake((name,), text, "unknown"))
    given = needed if whole else ()
    lacking = [name for name in given if name not in settings]
    mistakes += [Mistake((name,), f"lacks {name!r}", "lacks") for name in lacking]
    if all(name in taken for name in given):
        while True:
            try:
                made = make(**taken)
            except InputError as error:
                blamed = _blamed(make, taken, given, str(error))
                mistakes.append(Mistake(blamed, str(error)))
                if not blamed:
                    break
                del taken[blamed[0]]
            else:
                if mistakes:
                    break
                return made
    raise MistakesError(mistakes)


def _blamed(
    make: Callable[..., Any], settings: Mapping[str, Any], given: Iterable[str], text: str
) -> tuple[str, ...]:
    """The first setting that alone gives rise to an error, if there is one."""
    always = {name: settings[name] for name in given}
    if always and _says(make, always, text):
        return ()
    for name, value in settings.items():
        if name not in always and _says(make, {**always, name: value}, text):
            return (name,)
    return ()


def _says(make: Callable[..., Any], settings: Mapping[str, Any], text: str) -> bool:
    try:
        make(**settings)
    except InputError as error:
        return str(error) == text
    return False


_REGISTERED: Final[list[tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]]] = []


@functools.cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    hook = _converter().get_structure_hook(kind)
    # A film has a million numbers: each is read by one call.
    return hook.args[0] if isinstance(hook, partial) else lambda value: hook(value, kind)


@functools.cache
def _members(kind: Any) -> tuple[dict[str, Callable[[Any], Any]], tuple[str, ...]]:
    """How each field of a dataclass is read, and those that have no default."""
    hints, none = get_type_hints(kind), dataclasses.MISSING
    fields, inlined = dataclasses.fields(kind), getattr(kind, "inlined", {})
    needed = (f.name for f in fields if f.default is none and f.default_factory is none)
    members = dict[str, Callable[[Any], Any]]()
    for name, parts in inlined.items():
        members |= {part: _members(hints[name])[0][part] for part in parts}
    members |= {f.name: _reader(hints[f.name]) for f in fields if f.name not in inlined}
    return members, tuple(needed)


def _assembled(kind: Any, /, **settings: Any) -> Any:
    for name, parts in getattr(kind, "inlined", {}).items():
        inner = {part: settings.pop(part) for part in parts if part in settings}
        settings[name] = get_type_hints(kind)[name](**inner)
    return kind(**settings)


@functools.cache
def _converter() -> Converter:
    # Not needed to import faceblur.
    from cattrs import Converter
    from cattrs.gen import make_dict_unstructure_fn, override

    converter = Converter(unstruct_collection_overrides={tuple: list})

    def is_a(origin: Any) -> Callable[[Any], bool]:
        return lambda kind: get_origin(kind) is origin

    structure = converter.register_structure_hook_func
    structure(dataclasses.is_dataclass, _object)

    def write_renamed(kind: Any) -> Callable[[Any], dict[str, Any]]:
        names: dict[str, Any] = {
            name: override(rename=key) for name, key in kind.written_as.items()
        }
        return make_dict_unstructure_fn(kind, converter, **names)

    converter.register_unstructure_hook_factory(
        lambda kind: hasattr(kind, "written_as"), write_renamed
    )

    def write_inlined(kind: Any) -> Callable[[Any], dict[str, Any]]:
        whole = make_dict_unstructure_fn(kind, converter)

        def write(value: Any) -> dict[str, Any]:
            written, parts = whole(value), dict[str, Any]()
            for name, wanted in kind.inlined.items():
                inner = written.pop(name)
                parts |= {part: inner[part] for part in wanted}
            return parts | written

        return write

    converter.register_unstructure_hook_factory(
        lambda kind: hasattr(kind, "inlined"), write_inlined
    )
    converter.register_structure_hook_factory(is_a(tuple), _list)
    structure(is_a(Literal), _choice)
    for kind, read, write in (*BASIC, *_REGISTERED):
        if get_origin(kind) is None:
            converter.register_structure_hook(kind, partial(_read, read))
            converter.register_unstructure_hook(kind, write)
        else:
            structure(partial(operator.eq, kind), partial(_read, read))
            converter.register_unstructure_hook_func(partial(operator.eq, kind), write)
    return converter


def _read(read: Callable[[Any], Any], value: Any, _: Any) -> Any:
    return read(value)


def _object(value: Any, kind: Any) -> Any:
    if isinstance(value, kind):
        return value
    return build(kind, named(value))


def _list(kind: Any) -> Callable[[Any, Any], tuple[Any, ...]]:
    kinds = get_args(kind)
    length = None if kinds[-1] is Ellipsis else len(kinds)
    readers = [_reader(each) for each in kinds if each is not Ellipsis]

    def read(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise WrongTypeError("a list", value)
        if length not in (None, len(value)):
            raise WrongTypeError(f"a list of {length}", value)
        taken, mistakes = [], list[Mistake]()
        for i, (member, read) in enumerate(zip(value, cycle(readers), strict=False)):
            try:
                taken.append(read(member))
            except InputError as error:
                mistakes += located(error, i)
        if mistakes:
            raise MistakesError(mistakes)
        return tuple(taken)

    return read


def _choice(value: Any, kind: Any) -> Any:
    *most, last = get_args(kind)
    if value not in (*most, last):
        raise WrongTypeError(f"{', '.join(most)} or {last}", value)
    return value
