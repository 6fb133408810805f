"""The images and videos behind an address, and what is there beside them."""

from __future__ import annotations

import glob
import logging
import mimetypes
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal, cast

from faceblur.batch.finished import FOLDER
from faceblur.batch.found import Found, FoundPart, Place, nothing_in
from faceblur.batch.private_folder import PrivateFolder
from faceblur.errors import InputError, OutputError, install_line
from faceblur.image.formats import BY_SUFFIX, RAW_SUFFIXES
from faceblur.stores.address import WEB, Address, parse_address
from faceblur.stores.connections import is_known
from faceblur.stores.faults import UnreachableError
from faceblur.stores.fsspec_store import store_of
from faceblur.stores.store import Entry
from faceblur.video.containers import CONTAINERS
from faceblur.video.kinds import SOURCE_CODE, Kind, found_kind, kind_of, result_name

logger = logging.getLogger(__name__)

_HEAD_BYTES: Final = 1 << 20
"""What FFmpeg looks at, at most, to say what a file is."""

_ATOMS: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""What old QuickTime files begin with; where their pictures are described may be at the end."""

_LONGEST_SUFFIX: Final = 100
_AT_ONCE: Final = 16

FoundKind = Kind | Literal["unreadable"] | None


def address_of(text: str) -> Address | None:
    """Read an address of a store; None for files of this machine, and for all other addresses.

    Raises:
        InputError: It cannot be used, or what it needs is not installed.
    """
    address = parse_address(text)
    if address is None:
        return None
    known = is_known(address.scheme)
    if known is None:
        raise InputError(
            f"{address.scheme}:// needs a library that is not installed; first run: "
            f"{install_line('cloud')}"
        )
    return address if known else None


def expand_address(address: Address, text: str) -> FoundPart:
    """Find what an address names: a file, a folder, or a pattern.

    Args:
        address: That of the text.
        text: As somebody gave it; one that ends in a slash is a folder.

    Raises:
        InputError: Nothing is there, or the store cannot be read.
    """
    store = store_of(address)
    if not text.endswith("/"):
        entry = store.find(address)
        if entry is not None:
            return FoundPart([_named(entry)])
        if glob.has_magic(address.path) and address.scheme not in WEB:
            matches = list(store.match(address))
            return _part(matches, None, f"{address} matches no images or videos", "check it")
        if address.scheme in WEB:
            raise InputError(f"{address} does not exist; check the name")
    entries = list(store.list(address))
    if not entries:
        raise InputError(f"{address} does not exist, or is empty; check the name")
    return _part(entries, address, f"{address} holds no images or videos", "give a folder")


def found_in(root: Address, entries: Iterable[Entry]) -> FoundPart:
    """Tell the files of a folder apart, as `faceblur.batch.search.classify` does.

    Where the name of a file does not say what it is and what its result will be called, its
    beginning is read.
    """
    return _classified(entries, root)


def _part(entries: Iterable[Entry], root: Address | None, nothing: str, hint: str) -> FoundPart:
    part = _classified(entries, root)
    if not part.found:
        raise nothing_in(nothing, part.unchecked, hint, is_folder=root is not None)
    return part


def _classified(entries: Iterable[Entry], root: Address | None) -> FoundPart:
    entries = [entry for entry in entries if FOLDER not in entry.address.parts]
    unclear = [entry for entry in entries if _needs_look(entry.address)]
    with PrivateFolder() as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        looks = pool.map(lambda entry: _glance(entry, folder.path), unclear)
        seen = dict(zip((entry.address for entry in unclear), looks, strict=True))
    found: list[Found] = []
    unchecked: list[Place] = []
    others = 0
    for entry in entries:
        address = entry.address
        kind, named = seen.get(address) or (_kind_by_name(address), address.name)
        if address.name.startswith("."):
            others += 1
        elif kind == "unreadable" or (kind is not None and address.is_odd):
            unchecked.append(address)
        elif kind is None:
            others += 1
        else:
            found.append(Found(address, kind, named, root, True, entry))
    return FoundPart(found, unchecked, others)


def _named(entry: Entry) -> Found:
    """A file that somebody named: its content says what it is."""
    if entry.address.is_odd:
        raise InputError(f"{entry.address} is no name of a file: give the address of a file")
    with PrivateFolder() as folder:
        kind, named = _look(entry, folder.path, kind_of)
    return Found(entry.address, cast(Kind, kind), named, entry=entry)


def _needs_look(address: Address) -> bool:
    if address.name.startswith(".") or address.is_odd:
        return False
    return _kind_by_name(address) is None or address.suffix.lower() in SOURCE_CODE


def _kind_by_name(address: Address) -> FoundKind:
    """What a file is by its suffix, if its result has that suffix too."""
    suffix = address.suffix.lower()
    if suffix in RAW_SUFFIXES:
        return "unreadable"
    if suffix in BY_SUFFIX:
        return "image"
    return "video" if suffix in CONTAINERS else None


def _glance(entry: Entry, folder: Path) -> tuple[FoundKind, str]:
    """Look at one of many; one that may not be read is no reason to leave the others unmasked."""
    try:
        return _look(entry, folder, found_kind)
    except UnreachableError:
        raise
    except InputError as error:
        logger.info("%s", error)
        return "unreadable", entry.address.name


def _look(entry: Entry, folder: Path, judge: Callable[[Path], FoundKind]) -> tuple[FoundKind, str]:
    """Say what a file is by its beginning, and what its result will be called."""
    store, address = store_of(entry.address), entry.address
    # The name, as far as it matters: those of stores may be longer than those of files.
    name = f"sample{address.suffix[-_LONGEST_SUFFIX:]}"
    try:
        with tempfile.TemporaryDirectory(dir=folder) as own:
            sample = Path(own, name)
            sample.write_bytes(store.head(address, _HEAD_BYTES))
            kind = judge(sample)
            if kind is None and _tells_late(sample) and entry.size != sample.stat().st_size:
                store.fetch(entry, sample)
                kind = judge(sample)
            if kind is None or kind == "unreadable":
                return kind, address.name
            return kind, address.name + result_name(sample, kind)[len(name) :]
    except OSError as error:
        raise OutputError(
            f"cannot keep a copy of {address} here: {error.strerror}; set TMPDIR to a folder with "
            "room for it"
        ) from error


def _tells_late(sample: Path) -> bool:
    """Whether what a file holds may be described at its end alone."""
    with sample.open("rb") as file:
        head = file.read(8)
    guess = mimetypes.guess_type(sample.name)[0] or ""
    return head[4:8] in (b"ftyp", *_ATOMS) or guess.startswith("audio/")
