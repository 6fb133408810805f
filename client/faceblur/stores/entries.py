"""What libraries say of a file, as an entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from faceblur.stores.address import Address
from faceblur.stores.store import Entry

_CHECKSUMS: Final = ("md5Hash", "ETag", "etag", "Content-MD5", "content_md5", "checksum")
"""What libraries call that which changes with the content."""

_TIMES: Final = ("mtime", "modified", "LastModified", "last_modified", "last_write_time", "created")


def entry_of(address: Address, info: Mapping[str, Any]) -> Entry:
    """The file of an address, of which its library says `info`."""
    size = info.get("size")
    checksum = next((str(info[name]) for name in _CHECKSUMS if info.get(name)), "")
    if checksum.startswith("W/"):
        checksum = ""  # Alike, but maybe not the same.
    text = checksum.strip('"')
    version = f"{text}-{size}" if text and size is not None else ""
    times = (str(info[name]) for name in _TIMES if info.get(name))
    modified = "" if version else next(times, "")
    return Entry(address, None if size is None else int(size), version, modified)
