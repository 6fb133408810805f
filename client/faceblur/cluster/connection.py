"""The connection to a cluster of Ray, which reports to nobody."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from faceblur.cluster.options import ClusterOptions
from faceblur.errors import FaceblurError, InputError, install_line
from faceblur.owners import is_gone, own_mark

logger = logging.getLogger(__name__)

ADDRESS_VARIABLE: Final = "RAY_ADDRESS"

LOCAL: Final = "local"

_TRIES: Final = 3

_PREFIX: Final = "fb-ray-"
_OWNER: Final = "owner"

_STORE_BYTES: Final = 256 << 20
"""Of a cluster of our own: files do not go through Ray."""

_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0"}
"""Nothing is told to its makers."""


class ClusterError(FaceblurError):
    """The cluster cannot be reached, or has gone."""


@contextlib.contextmanager
def connected(options: ClusterOptions) -> Iterator[Any]:
    """Connect to the cluster, or start one on this machine; the module `ray`, until the end.

    Raises:
        InputError: Ray is not installed.
        ClusterError: Nothing answers at the address.
    """
    address = options.address
    if address == "ray":
        address = os.environ.get(ADDRESS_VARIABLE, "") or LOCAL
    with contextlib.ExitStack() as undo:
        arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address == LOCAL:
            arguments |= undo.enter_context(_own_cluster())
        ray = _import(undo)
        try:
            with _same_end():
                _connect(ray, address, arguments)
        except (ConnectionError, ValueError, RuntimeError) as error:
            logger.debug("Ray says: %s", error)
            raise ClusterError(
                f"no cluster of Ray with the same version answers at {address}: start one with "
                "ray start --head, or correct the address"
            ) from error
        undo.callback(ray.shutdown)
        try:
            yield ray
        except (ConnectionError, ray.exceptions.RaySystemError) as error:
            logger.debug("Ray says: %s", error)
            raise ClusterError(
                f"the cluster at {address} has gone: what is finished stays, and the same command "
                "goes on from there"
            ) from error


@contextlib.contextmanager
def _same_end() -> Iterator[None]:
    """Keep what SIGTERM does: Ray would print where the program was, and end it otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, address: str, arguments: dict[str, Any]) -> None:
    """Connect; a head with much to do may not answer at once."""
    for left in reversed(range(_TRIES)):
        try:
            ray.init(address, **arguments)
        except ConnectionError:
            if not left:
                raise
            logger.info("%s does not answer yet", address)
        else:
            return


def _import(undo: contextlib.ExitStack) -> Any:
    """Import Ray, which reads its settings from the environment just then."""
    undo.enter_context(_environment(_QUIET))
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise InputError(f"--on needs Ray: {install_line('ray')}") from error


@contextlib.contextmanager
def _own_cluster() -> Iterator[dict[str, Any]]:
    """What a cluster of this process alone needs.

    It asks for a token that nobody else has: whoever can command a cluster can run programs as its
    user. All that it writes goes with it.
    """
    with contextlib.ExitStack() as undo:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        undo.enter_context(_environment(token))
        _remove_abandoned()
        # Names of sockets are short, and the owner's mark would make this one too long.
        folder = undo.enter_context(
            tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        )
        Path(folder, _OWNER).write_text(own_mark())
        yield {
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": folder,
        }


def _remove_abandoned() -> None:
    """Remove what clusters of programs that are no more have left: Ray ends with its head."""
    for owner in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNER}"):
        with contextlib.suppress(OSError):
            if is_gone(owner.read_text()):
                shutil.rmtree(owner.parent, ignore_errors=True)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
