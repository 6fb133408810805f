"""Nodes of Ray from outside: their processes, and the files that they and faceblur write."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SECRET = "a-secret-of-the-environment"


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of a folder's results, without the notes and what a dead node left unfinished."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".faceblur" not in path.parts]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if not path.name.startswith(".")
    }


@contextmanager
def meanwhile(do: Callable[[int], object], out: Path, raylet: int) -> Iterator[None]:
    """Do something to the worker of a node that has a result half written, when there is one."""
    done, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for pid in writing(out, raylet):
                do(pid)
                done.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert done.is_set()


def raylet_of(node: Any) -> int:
    """Ray's process of a node."""
    return int(node.all_processes["raylet"][0].process.pid)


def writing(out: Path, raylet: int, name: str = "") -> Iterator[int]:
    """Workers of a node that have a file in a folder open that is not finished.

    Args:
        out: The folder.
        raylet: Ray's process of the node.
        name: With what the name of its result begins.
    """
    for pid in Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split():
        with suppress(OSError):
            opened = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
            if any(each.startswith(f"{out}/") and f"/.{name}" in each for each in opened):
                yield int(pid)


def child_of(parent: int, name: str) -> int:
    listed = subprocess.check_output(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(parent)], text=True
    )
    return next(int(row.split()[0]) for row in listed.splitlines() if name in row)


def tells(file: Path) -> bool:
    """Whether a secret is in a file, if that is still there."""
    with suppress(FileNotFoundError):
        return SECRET.encode() in file.read_bytes()
    return False


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def notes(out: Path) -> list[str]:
    files = (out / ".faceblur").glob("finished*.jsonl")
    return [line for file in files for line in file.read_text().splitlines()]
