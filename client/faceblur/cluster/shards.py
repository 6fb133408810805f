"""Share files out among machines that know nothing of each other."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from faceblur.errors import InputError


@dataclass(frozen=True)
class Shard:
    """One of several parts of all files; each file is in exactly one of them.

    Which one depends on the file's name in its folder alone: not on what else is there, on the
    machine, or on the time.

    Attributes:
        index: From 0 to one less than `count`, as Kubernetes numbers the pods of an Indexed Job.
    """

    index: int
    count: int

    @property
    def writer(self) -> str:
        """What tells its notes of finished results from those of the others."""
        return f"{self.index}-of-{self.count}"

    def holds(self, name: str) -> bool:
        """Whether a file is in it, by its name relative to the folder that was searched."""
        return self.of(name) == self.index

    def of(self, name: str) -> int:
        """The index of the shard that a file is in."""
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count


def parse_shard(text: str) -> Shard:
    """Read a shard as the command line has it, such as 0/4.

    Raises:
        InputError: It is none.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise InputError(f"--shard {text} is no shard: give its number and how many there are, 0/4")
    index, count = int(match[1]), int(match[2])
    if index >= count:
        last = f"0/{count} to {count - 1}/{count}" if count else "0/1 is the only one of one"
        raise InputError(f"--shard {text} does not exist: the shards are counted from 0, {last}")
    return Shard(index, count)
