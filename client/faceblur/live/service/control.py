"""Orders to a running service: from this machine, by whoever can read its token."""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import stat
import urllib.error
import urllib.request
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, get_args

import platformdirs

from faceblur.detection.triton.loopback import is_loopback, open_url
from faceblur.errors import InputError, ServerUnavailableError
from faceblur.live.addresses import split_address
from faceblur.live.views import View

logger = logging.getLogger(__name__)

Order = Literal["stop", "start", "reload"]

PAGE: Final = "/control"
VIEWS: Final = "/control/views"
MAX_BYTES: Final = 10_000
TIMEOUT_S: Final = 5.0
_MOST_BYTES: Final = 10_000_000


class Control:
    """The token of one service, in a file that its own user alone can read; `close` removes it.

    Where the service listens for others than this machine, or there is no private place for the
    file, there is no token, and nobody can give orders.
    """

    def __init__(self, address: str) -> None:
        self._token = ""
        self._path: Path | None = None
        if not is_loopback(split_address(address)[0]):
            return
        path, token = _path(address), secrets.token_urlsafe(32)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(path.parent.lstat())
            # One that a killed service has left is worth nothing.
            path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(path, flags, 0o600), "w") as file:
                file.write(token)
        except OSError as error:
            logger.warning("no page can stop or start cameras: %s", error)
            return
        self._token, self._path = token, path

    def allows(self, peer: str, authorization: str) -> bool:
        """Whether a request comes from this machine and shows the token."""
        scheme, _, given = authorization.partition(" ")
        right = hmac.compare_digest(given.encode(), self._token.encode())
        return bool(self._token) and scheme == "Bearer" and right and is_loopback(peer)

    def close(self) -> None:
        """Remove the file, if it is still this one's."""
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                if path.read_text() == self._token:
                    path.unlink()
        self._token = ""


def parse_order(body: bytes) -> tuple[Order, str]:
    """What is to be done, and with which camera; no name where it is about all.

    Raises:
        InputError: It is no order.
    """
    try:
        said = json.loads(body)
        order, camera = said["do"], said.get("camera", "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        order, camera = None, ""
    if order not in get_args(Order) or not isinstance(camera, str):
        raise InputError('say {"do": "stop", "camera": "door"}: stop, start or reload')
    if (order == "reload") == bool(camera):
        raise InputError("stop and start need a camera, reload is for the whole file")
    return order, camera


def can_order(address: str) -> bool:
    """Whether the token of the service there can be read."""
    try:
        return bool(_read(address))
    except OSError:
        return False


def give_order(address: str, order: Order, camera: str = "") -> None:
    """Have a service of this machine and of this user do something; it is done soon after.

    Raises:
        InputError: There is no such camera.
        ServerUnavailableError: It does not run, or belongs to somebody else.
    """
    body = {"do": order, "camera": camera} if camera else {"do": order}
    _ask(address, PAGE, json.dumps(body).encode())


def service_views(address: str) -> dict[str, tuple[View, ...]]:
    """Where the sinks of each camera of a service can be watched, with credentials.

    Raises:
        InputError: It does not say.
        ServerUnavailableError: It does not run, or belongs to somebody else.
    """
    try:
        said = json.loads(_ask(address, VIEWS))
        return {name: tuple(map(View.from_json, views)) for name, views in said.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("it does not say where its cameras can be watched") from error


def _ask(address: str, page: str, body: bytes | None = None) -> bytes:
    """What a service of this machine and of this user answers to who has its token."""
    try:
        request = urllib.request.Request(
            f"http://{address}{page}",
            data=body,
            headers={"Authorization": f"Bearer {_read(address)}"},
        )
        with open_url(request, timeout_s=TIMEOUT_S) as reply:
            answer: bytes = reply.read(_MOST_BYTES)
            return answer
    except urllib.error.HTTPError as error:
        sentence = error.read(MAX_BYTES).decode("utf-8", "replace").strip()
        raise InputError(sentence or f"it answers {error.code}") from error
    except (OSError, ValueError) as error:
        raise ServerUnavailableError(
            f"nothing at {address} takes orders from this user: whoever started faceblur run can "
            "end it, or have it read its file again with kill -HUP"
        ) from error


def service_status(address: str) -> dict[str, Any]:
    """How a running service is, as `ServiceStatus.to_json` gives it.

    Raises:
        InputError: That is no address.
        ServerUnavailableError: No service answers there.
    """
    split_address(address)
    try:
        request = urllib.request.Request(f"http://{address}/status")
        with open_url(request, timeout_s=TIMEOUT_S) as reply:
            status: dict[str, Any] = json.load(reply)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise ServerUnavailableError(
            f"no service answers at {address}; start one with faceblur run CAMERAS.YAML, or name "
            "its listen address with --address"
        ) from error
    return status


def _path(address: str) -> Path:
    host, port = split_address(address)
    name = f"control-{host.replace(':', '_')}-{port}"
    with warnings.catch_warnings():
        # That there is none for the session is no news.
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path("faceblur") / name


def _read(address: str) -> str:
    path = _path(address)
    _check_private(path.parent.lstat())
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor) as file:
        _check_private(os.fstat(descriptor))
        return file.read()


def _check_private(found: os.stat_result) -> None:
    # Windows has no such ids: nothing is known to be private there.
    user = getattr(os, "getuid", lambda: None)()
    if found.st_uid != user or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError("the folder for its token is open to others")
