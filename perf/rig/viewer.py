"""Receive what a camera publishes, as anybody would, in a process of its own.

`python viewer.py URL FILE WIDTH HEIGHT`: listens at an RTSP address (again and again, for whoever
publishes there), or reads any other; appends every frame to FILE: arrival (float64,
time.monotonic) and then WIDTH × HEIGHT × 3 bytes BGR.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame that a viewer received.

    Attributes:
        time_s: When, `time.monotonic()`.
        image: uint8 [H, W, 3] BGR.
    """

    time_s: float
    image: npt.NDArray[np.uint8]


class Viewer:
    """A viewer at work."""

    def __init__(self, file: Path, size: tuple[int, int]) -> None:
        self._file = file
        self._size = size

    @property
    def count(self) -> int:
        """Frames received so far."""
        return self._file.stat().st_size // self._record_bytes if self._file.exists() else 0

    @property
    def _record_bytes(self) -> int:
        return 8 + self._size[0] * self._size[1] * 3

    def seen(self, start: int = 0, end: int | None = None) -> Iterator[Seen]:
        """The frames from one number to another, as far as they have come."""
        width, height = self._size
        with self._file.open("rb") as file:
            for number in range(start, self.count if end is None else end):
                file.seek(number * self._record_bytes)
                record = file.read(self._record_bytes)
                pixels = np.frombuffer(record, np.uint8, offset=8).reshape(height, width, 3)
                yield Seen(struct.unpack("d", record[:8])[0], pixels)

    def wait_for(self, count: int, *, timeout_s: float) -> bool:
        """Wait until so many frames have come; whether they have."""
        deadline_s = time.monotonic() + timeout_s
        while self.count < count and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return self.count >= count


@contextmanager
def viewer(url: str, file: Path, *, size: tuple[int, int]) -> Iterator[Viewer]:
    """Run a viewer."""
    # The process itself knows no packages of the rig.
    from rig.ports import until_listening

    process = subprocess.Popen(
        [sys.executable, __file__, url, str(file), *map(str, size)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        if url.startswith("rtsp"):
            # Whoever came too early would have to come again.
            until_listening(url)
        yield Viewer(file, size)
    finally:
        process.kill()
        process.wait()


def _watch(url: str, file: Path, size: tuple[int, int]) -> None:
    options = {"flags": "low_delay", "analyzeduration": "500000"}
    if url.startswith("rtsp"):
        options |= {"rtsp_flags": "listen", "rtsp_transport": "tcp", "listen_timeout": "60"}
    with av.open(url, options=options) as container, file.open("ab") as out:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        for frame in container.decode(stream):
            now_s = time.monotonic()
            image = frame.reformat(*size, "bgr24").to_ndarray()
            out.write(struct.pack("d", now_s) + image.tobytes())
            out.flush()


def _main() -> None:
    url, file, width, height = sys.argv[1:]
    while True:
        try:
            _watch(url, Path(file), (int(width), int(height)))
        except (av.error.FFmpegError, OSError, IndexError):
            time.sleep(0.1)


if __name__ == "__main__":
    _main()
