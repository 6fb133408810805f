"""GPU code inside a shared library: what a machine will not run is blanked, so that it packs small.

A library carries its kernels once for each kind of GPU, most of them for work that a detector does
not have. The containers and their headers stay: the driver reads those, and picks the code of its
own GPU by them; what it does not pick it does not read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = struct.pack("<I", 0xBA55ED50)
_CONTAINER: Final = struct.Struct("<IHHQ")  # magic, version, size of this, size of what follows
_ENTRY: Final = struct.Struct("<HHIQI")  # kind, version, size of the header, of the code, packed
_ARCHITECTURE_AT: Final = 28
_UNPACKED_SIZE_AT: Final = 56
_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_NAME: Final = re.compile(rb"_Z\w{6,}")


@dataclass(frozen=True)
class Code:
    """Kernels for one kind of GPU.

    Attributes:
        start: Where they begin in the file.
        size: In bytes.
        packed: Bytes of them before the padding, where they are packed.
        unpacked: Bytes of them unpacked.
        architecture: Compute capability times ten, as 90.
    """

    start: int
    size: int
    packed: int
    unpacked: int
    architecture: int


def codes(library: bytes | bytearray) -> Iterator[Code]:
    """All GPU code of a library.

    Raises:
        ValueError: It is not laid out as it should be.
    """
    at = library.find(_MAGIC)
    while at >= 0:
        _, version, header, size = _CONTAINER.unpack_from(library, at)
        end = at + header + size
        if version != 1 or header != _CONTAINER.size or end > len(library):
            at = library.find(_MAGIC, at + 4)  # the same bytes by chance
            continue
        entry = at + header
        while entry < end:
            _, _, entry_header, entry_size, packed = _ENTRY.unpack_from(library, entry)
            if entry_header < _UNPACKED_SIZE_AT + 8:
                raise ValueError("the GPU code of this library has another form")
            (architecture,) = struct.unpack_from("<I", library, entry + _ARCHITECTURE_AT)
            (unpacked,) = struct.unpack_from("<Q", library, entry + _UNPACKED_SIZE_AT)
            start = entry + entry_header
            yield Code(start, entry_size, packed, unpacked, architecture)
            entry = start + entry_size
        at = library.find(_MAGIC, end)


def blank(library: bytearray, *, architecture: int, without: Sequence[bytes]) -> tuple[int, int]:
    """Blank what one kind of GPU does not run, and kernels of certain names, in place.

    Args:
        library: Bytes of a shared library.
        architecture: What stays, compute capability times ten.
        without: Parts of kernels' names; code that holds one is not wanted.

    Returns:
        Bytes that were blanked, and that stay.

    Raises:
        ValueError: It holds no code for that GPU.
    """
    found = list(codes(library))
    mine = [code for code in found if code.architecture == architecture]
    if not mine:
        known = ", ".join(map(str, sorted({code.architecture for code in found}))) or "none"
        raise ValueError(f"the library holds no code for sm_{architecture}, only for: {known}")
    keep = {code.start for code in mine if not _holds(library, code, without)}
    blanked = 0
    for code in found:
        if code.start not in keep:
            library[code.start : code.start + code.size] = bytes(code.size)
            blanked += code.size
    return blanked, sum(code.size for code in found) - blanked


def _holds(library: bytearray, code: Code, parts: Sequence[bytes]) -> bool:
    raw = bytes(library[code.start : code.start + code.size])
    if raw.startswith(_ZSTANDARD):
        import zstandard  # none of the project's packages

        unpacker = zstandard.ZstdDecompressor()
        raw = unpacker.decompress(raw[: code.packed], max_output_size=code.unpacked)
    names = set(_NAME.findall(raw))
    return any(part in name for name in names for part in parts)
