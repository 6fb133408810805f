"""What the server may be called: a name that somebody else made point here is not answered."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Literal

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
WILDCARDS: Final = frozenset({"0.0.0.0", "::"})
"""Every address of this machine."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"(?:\[(?P<inner>[^\[\]]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the server is called, as the Host and the Origin of a request say it.

    Attributes:
        hosts: Names and addresses in lower case; `*.example.org` is every name directly below.
        any_address: Any IP address will do. Nobody can make one point elsewhere, as a name.
    """

    scheme: Literal["http", "https"]
    port: int
    hosts: frozenset[str] = LOOPBACK
    any_address: bool = False

    def includes(self, host: str | None) -> bool:
        """Whether the Host of a request is one of them."""
        match = _HOST.fullmatch(host or "")
        if match is None or int(match["port"] or _DEFAULT_PORTS[self.scheme]) != self.port:
            return False
        name = (match["inner"] or match["name"]).lower()
        below = f"*.{name.partition('.')[2]}"
        return name in self.hosts or below in self.hosts or (self.any_address and _is_address(name))

    def origin(self, host: str) -> str:
        """The Origin of pages that this server has sent under a Host."""
        return f"{self.scheme}://{host}"


def shown(host: str) -> str:
    """A host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
