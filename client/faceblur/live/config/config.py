"""`cameras.yaml`: every setting of a service with many cameras.

Settings have the names and the defaults of the options they become: `CameraOptions`,
`SourceOptions`, `SinkOptions`, `Policy`, `MaskStyle`, `CoverOptions` and `SessionOptions`.
`docs/cameras.yaml` shows all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detection.session import SessionOptions
from faceblur.detection.triton.connection import DEFAULT_SERVER, Connection
from faceblur.errors import InputError
from faceblur.live.addresses import split_address
from faceblur.live.config import advice
from faceblur.live.config.cameras import CameraReader
from faceblur.live.config.secrets import Secrets
from faceblur.live.config.yaml_tree import Located, Problems, place, read_tree
from faceblur.live.options import CameraOptions

DEFAULT_LISTEN: Final = "127.0.0.1:9180"
"""Where metrics, health and status are served, unless told otherwise."""

SERVER_DEADLINE_S: Final = 2.0
"""An answer that comes later is of no use to a camera."""

SHUTDOWN_S: Final = 10.0

TOP: Final = ("server", "listen", "shutdown_s", "defaults", "cameras")


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """What holds for the service as a whole.

    Attributes:
        listen: host:port of metrics, health and status; None to serve none.
        shutdown_s: Seconds that all cameras together have to flush their sinks at the end.

    Raises:
        InputError: A setting is invalid.
    """

    listen: str | None = DEFAULT_LISTEN
    shutdown_s: float = SHUTDOWN_S

    def __post_init__(self) -> None:
        """Check the ranges; an `InputError` says which setting is invalid."""
        if self.listen is not None:
            split_address(self.listen)
        if not self.shutdown_s > 0:
            raise InputError("must be more than 0 seconds")


@dataclass(frozen=True, kw_only=True)
class FleetConfig(ServiceOptions):
    """What a file of cameras says.

    Attributes:
        session: The detector that all cameras share.
        cameras: At least one.
        secrets: Texts that came from the environment or from files; never to be shown.
        warnings: What is allowed and hardly meant, a sentence each, with its line.
    """

    session: SessionOptions
    cameras: tuple[CameraOptions, ...]
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The longest side that any camera gives the network, pixels."""
        return max((camera.policy.detection.size for camera in self.cameras), default=DEFAULT_SIZE)


def load_config(path: Path, *, environment: Mapping[str, str] | None = None) -> FleetConfig:
    """Read a file, whose secrets may be in the environment; this process's when None.

    Raises:
        ConfigError: It has problems; the message names each with its line and key.
        InputError: It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}; docs/cameras.yaml is one to start from"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text in UTF-8: byte {error.start} is odd") from error
    secrets = Secrets() if environment is None else Secrets(environment)
    return read_config(text, file=path.name, secrets=secrets)


def read_config(text: str, *, file: str, secrets: Secrets) -> FleetConfig:
    """Read YAML as `load_config` does; `file` is what errors call it."""
    problems = Problems(file, secrets.seen)
    tree = read_tree(text, problems)
    top = problems.members(tree, ", ".join(TOP))
    top = {name: place(at, "", name) for name, at in top.items()}
    top = problems.known(top, TOP)
    session = _session(top, problems)
    general = {name: at for name, at in top.items() if name in ("listen", "shutdown_s")}
    service = problems.build(ServiceOptions, general, tree) or ServiceOptions()
    if service.listen is not None and (text := advice.of_address(service.listen)):
        problems.warn(top["listen"], text)
    cameras = _cameras(top, tree, session, service.listen, problems, secrets)
    problems.raise_any()
    return FleetConfig(
        session=session,
        cameras=cameras,
        secrets=frozenset(secrets.seen),
        warnings=problems.warnings,
        listen=service.listen,
        shutdown_s=service.shutdown_s,
    )


def _session(top: dict[str, Located], problems: Problems) -> SessionOptions:
    at = place(top.get("server", Located({}, 1)), "server")
    section = problems.members(at, "the settings of the server")
    names = {field.name for field in fields(SessionOptions)} - {"server"} | {"address"}
    section = problems.known(section, names)
    settings = {"server" if name == "address" else name: at for name, at in section.items()}
    made = problems.build(SessionOptions, settings, at, _session_options)
    text = "" if made is None else advice.of_server(made)
    if text:
        problems.warn(section["address"], text)
    # Cameras are not held against a deadline that nobody set.
    return made or SessionOptions(deadline_s=math.inf)


def _session_options(**settings: Any) -> SessionOptions:
    session = SessionOptions(**{"deadline_s": SERVER_DEADLINE_S, **settings})
    Connection(
        address=DEFAULT_SERVER if session.server is None else session.server,
        tls=session.tls,
        deadline_s=session.deadline_s,
        transport=session.transport,
    )
    return session


def _cameras(
    top: dict[str, Located],
    tree: Located,
    session: SessionOptions,
    listen: str | None,
    problems: Problems,
    secrets: Secrets,
) -> tuple[CameraOptions, ...]:
    reader = CameraReader(place(top.get("defaults", Located({}, 1)), "defaults"), problems, secrets)
    cameras_at = top.get("cameras", tree)
    found = problems.members(cameras_at, "cameras") if "cameras" in top else {}
    if not found:
        problems.add_line(cameras_at.line, "cameras: there is none; name one with a source")
    cameras, targets = [], dict[str, str]()
    for name, at in found.items():
        located = place(at, f'camera "{name}"')
        camera = reader.read(name, located)
        if camera is None:
            continue
        cameras.append(camera)
        if camera.deadline_s > session.deadline_s:
            late = reader.place_of("deadline_s", located)
            problems.add(
                late, f"longer than the server's; raise deadline_s of server to {camera.deadline_s}"
            )
        for sink in camera.sinks:
            other = name if sink.place is None else targets.setdefault(sink.place, name)
            if other != name:
                problems.add(
                    reader.place_of("sinks", located),
                    f"{sink.label} is also a sink of camera {other!r}; give each its own",
                )
        for each in advice.of_camera(camera):
            reader.warn(each, located)
    for name, each in advice.of_cameras(cameras, listen):
        reader.warn(each, place(found[name], f'camera "{name}"'))
    return tuple(cameras)
