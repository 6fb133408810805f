"""Add a camera to the text of a configuration, and leave every other line as it is."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

import yaml

from faceblur.errors import InputError, OutputError
from faceblur.files import atomic_path
from faceblur.live.config.yaml_tree import Problems, compose, read_tree

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS: Final = frozenset(("true", "false", "null"))
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_MOST_NAME: Final = 60
_BY_HAND: Final = (
    "write its cameras one below the other, each as name: and its settings, or add it there"
)


@dataclass(frozen=True, kw_only=True)
class NewCamera:
    """A camera that is to be added. Its texts are meant as they are: no references in them.

    Attributes:
        name: Of printable characters.
        address: Without user and password.
        user: Empty for none.
        password: It goes to a file of its own, which the configuration names.
        sinks: Where its masked frames go; empty for what `defaults` says.
    """

    name: str
    address: str
    user: str = ""
    password: str = ""
    sinks: Sequence[str] = ()

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"NewCamera({self.name!r})"


def has_default_sinks(file: Path) -> bool:
    """Whether a camera needs no sinks of its own.

    Raises:
        InputError: The file cannot be read.
    """
    tree = read_tree(_read(file), Problems(file.name)).plain()
    defaults = tree.get("defaults") if isinstance(tree, dict) else None
    return isinstance(defaults, dict) and bool(defaults.get("sinks"))


def add_camera(file: Path, camera: NewCamera) -> None:
    """Add a camera to a file, which is made if it is not there.

    Its password goes to the folder `secrets` beside the file, which only its user can read.

    Raises:
        InputError: The file has such a camera, or is written in a way that cannot be added to.
        OutputError: It cannot be written.
    """
    file = file.resolve()
    text = _read(file)
    password = file.parent / "secrets" / _slug(camera.name)
    source = _source(camera, password)
    added = with_camera(text, camera.name, source, camera.sinks, file=file.name)
    if camera.password:
        _keep(password, camera.password)
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0o600
    try:
        with atomic_path(file, mode=mode) as temporary:
            temporary.write_text(added, encoding="utf-8")
            temporary.chmod(mode)
    except BaseException:
        if camera.password:
            password.unlink(missing_ok=True)
        raise


def with_camera(text: str, name: str, source: str, sinks: Sequence[str], *, file: str) -> str:
    """The text with one more camera, behind the others.

    Args:
        text: YAML, or nothing.
        name: Of the camera.
        source: As it is to stand there, references included.
        sinks: The same.
        file: What errors call it.

    Raises:
        InputError: It has such a camera, or is written in a way that cannot be added to.
    """
    if not name or not name.isprintable() or len(name) > _MOST_NAME or name != name.strip():
        raise InputError(f"a camera needs a name of 1 to {_MOST_NAME} printable characters")
    before = read_tree(text, Problems(file)).plain()
    cameras = before.get("cameras") if isinstance(before, dict) else None
    if isinstance(cameras, dict) and name in cameras:
        raise InputError(f"{file} has a camera {name!r} already: choose another name")
    camera: dict[str, Any] = {"source": source} | ({"sinks": list(sinks)} if sinks else {})
    text = f"{text}\n" if text and not text.endswith("\n") else text
    lines = [f"{line}\n" for line in text.split("\n")[:-1]]
    at, column, step = _place(text, lines, file)
    added = [] if column else ["cameras:\n"]
    added += _written(name, camera, " " * (column or step), " " * step)
    whole = "".join([*lines[:at], *added, *lines[at:]])
    wanted = (before or {}) | {"cameras": (cameras or {}) | {name: camera}}
    # Whatever the file looks like, nothing else may change.
    problems = Problems(file)
    try:
        after = read_tree(whole, problems).plain()
        problems.raise_any()
    except InputError:
        after = None
    if after != wanted:
        raise InputError(f"{file} is written in a way that no camera can be added to: {_BY_HAND}")
    return whole


def _place(text: str, lines: list[str], file: str) -> tuple[int, int, int]:
    """Behind which line it goes, at which column (0 without any cameras yet), and the step."""
    root = compose(text)
    if root is None:
        return len(lines), 0, 2
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise InputError(f"{file} is written in a way that no camera can be added to: {_BY_HAND}")
    for key, value in root.value:
        if key.value != "cameras":
            continue
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            column = value.value[0][0].start_mark.column
            return _end(lines, value.end_mark.line, column), column, column or 2
        if isinstance(value, yaml.ScalarNode) and value.value == "":
            return key.start_mark.line + 1, 2, 2
        raise InputError(f"{file} is written in a way that no camera can be added to: {_BY_HAND}")
    return len(lines), 0, 2


def _end(lines: list[str], end: int, column: int) -> int:
    """The line behind the last camera: what stands before the next section belongs to that."""
    end = min(end, len(lines))
    while end and _is_apart(lines[end - 1], column):
        end -= 1
    return end


def _is_apart(line: str, column: int) -> bool:
    bare = line.strip()
    return not bare or (bare.startswith("#") and len(line) - len(line.lstrip()) < column)


def _written(name: str, camera: dict[str, Any], indent: str, step: str) -> list[str]:
    lines = [f"{indent}{_scalar(name)}:", f"{indent}{step}source: {_scalar(camera['source'])}"]
    if "sinks" in camera:
        lines.append(f"{indent}{step}sinks:")
        lines += [f"{indent}{step}{step}- {_scalar(sink)}" for sink in camera["sinks"]]
    return [f"{line}\n" for line in lines]


def _scalar(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _source(camera: NewCamera, password: Path) -> str:
    """Its address, with a reference in place of the password."""
    if not camera.user and not camera.password:
        return _literal(camera.address)
    if "}" in str(password):
        raise InputError(f"{password.parent} has a brace in its name: move the file elsewhere")
    scheme, _, rest = camera.address.partition("://")
    secret = f":${{file:{password}}}" if camera.password else ""
    return f"{scheme}://{_literal(quote(camera.user, safe=''))}{secret}@{_literal(rest)}"


def _literal(text: str) -> str:
    return text.replace("$", "$$")


def _slug(name: str) -> str:
    return f"{_UNSAFE.sub('-', name).strip('-') or 'camera'}-password"


def _keep(path: Path, password: str) -> None:
    """Write a password that nobody but this user can read."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {path.parent} for passwords cannot be made: {error.strerror}"
        ) from error
    if path.exists():
        raise InputError(f"{path} is there already: choose another name, or remove it")
    with atomic_path(path, mode=0o600) as temporary:
        temporary.write_text(password, encoding="utf-8")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not a text in UTF-8: byte {error.start} is odd") from error


def split_credentials(address: str) -> tuple[str, str, str]:
    """An address without user and password, and these, as they are meant."""
    parts = urlsplit(address)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), user, password
