"""This machine's own addresses, which nothing may come between."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.request import Request

NAMES: Final = ("localhost", "127.0.0.1", "::1")
_LISTENS: Final = "0A"
_EXCEPTIONS: Final = ("no_proxy", "NO_PROXY", "no_grpc_proxy")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's loopback."""
    host = host.strip("[]").lower()
    if host in NAMES or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hosts_of(address: str) -> list[str]:
    """The hosts of a gRPC address: `HOST:PORT`, `dns:///HOST:PORT`, `ipv4:HOST:PORT,HOST:PORT`."""
    targets = re.sub(r"^(dns:(//[^/]*/)?|ipv[46]:)", "", address)
    return [target.rpartition(":")[0] for target in targets.split(",")]


def keep_proxies_away() -> None:
    """Have this process and its children reach this machine without a proxy.

    Libraries that do not ask us (FFmpeg, for one) read the environment.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return
    for name in _EXCEPTIONS:
        if (value := os.environ.get(name)) is None and name != "no_proxy":
            continue
        listed = [each for each in (value or "").split(",") if each]
        if listed != ["*"]:
            os.environ[name] = ",".join(dict.fromkeys([*listed, *NAMES]))


def stranger_at(port: int) -> int | None:
    """The number of another user who listens on a TCP port; None where root or we do, or nobody.

    Only Linux tells.
    """
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                uid = int(fields[7])
                listens = fields[3] == _LISTENS and int(fields[1].rpartition(":")[2], 16) == port
                if listens and uid not in (0, os.geteuid()):
                    return uid
    return None


def open_url(request: Request, *, timeout_s: float) -> Any:
    """Like `urllib.request.urlopen`, but never through a proxy to this machine."""
    # Imported where it is needed: it takes longer than most of faceblur.
    import urllib.request

    if is_loopback(urlsplit(request.full_url).hostname or ""):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return opener.open(request, timeout=timeout_s)
    return urllib.request.urlopen(request, timeout=timeout_s)


def proxy_for(host: str) -> str:
    """The variable that sends gRPC to a host through a proxy; empty when none does."""
    if is_loopback(host):
        return ""
    from urllib.request import proxy_bypass

    if proxy_bypass(host):
        return ""
    set_ = (name for name in ("grpc_proxy", "https_proxy", "http_proxy") if os.environ.get(name))
    return next(set_, "")
