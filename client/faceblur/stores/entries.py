"""What libraries say of a file, as an entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from faceblur.stores.address import Address
from faceblur.stores.store import Entry

_CHECKSUMS: Final = ("md5Hash", "ETag", "etag", "Content-MD5", "content_md5", "checksum")
"""What libraries call that which changes with the content."""

_TAGS: Final = ("generation", "ETag", "etag")
"""What stores compare before they replace a file."""

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
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
    return Entry(address, None if size is None else int(size), version, modified, tag)


def entries_of(
    folder: Address, path: str, found: Mapping[str, Mapping[str, Any]]
) -> Iterator[Entry]:
    """The files below a folder, in the order of their names.

    Args:
        folder: Where they lie.
        path: What its library calls that.
        found: What the library says of each, by what it calls it.
    """
    base = path.rstrip("/")
    for each in sorted(found):
        info = found[each]
        name = each[len(base) :].lstrip("/") if base else each.lstrip("/")
        # A name that ends in a slash stands for an empty folder.
        if info.get("type") == "file" and each.startswith(base) and name[-1:] not in ("", "/"):
            yield entry_of(folder / name, info)
