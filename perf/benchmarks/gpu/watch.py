"""What nvidia-smi says of a GPU while it works."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

FIELDS: Final = ("utilization.gpu", "memory.used", "power.draw", "clocks.sm")
EVERY_MS: Final = 200


@dataclass
class Watch:
    """Samples of a GPU, as they come: `FIELDS` in %, MiB, W, MHz."""

    samples: list[tuple[float, ...]] = field(default_factory=list)
    _begun: int = 0

    def begin(self) -> None:
        """What is to be watched is there, and its work begins."""
        self._begun = len(self.samples)

    def summary(self) -> dict[str, float]:
        """The most memory beyond that of the first sample, and medians of the rest since `begin`.

        Empty without a GPU.
        """
        working = self.samples[self._begun :]
        if not working:
            return {}
        columns = dict(zip(FIELDS, zip(*working, strict=True), strict=True))
        before = self.samples[0][FIELDS.index("memory.used")]
        return {
            "gpu_memory_mib": max(columns["memory.used"]) - before,
            "gpu_utilisation_percent": statistics.median(columns["utilization.gpu"]),
            "gpu_power_w": statistics.median(columns["power.draw"]),
            "gpu_clock_mhz": statistics.median(columns["clocks.sm"]),
        }


@contextlib.contextmanager
def watching(index: int) -> Iterator[Watch]:
    """Sample a GPU while the block runs; nothing where there is no nvidia-smi."""
    watch = Watch()
    if shutil.which("nvidia-smi") is None:
        yield watch
        return
    command = ["nvidia-smi", f"--id={index}", f"--query-gpu={','.join(FIELDS)}"]
    command += ["--format=csv,noheader,nounits", f"--loop-ms={EVERY_MS}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    ) as process:  # fmt: skip
        reader = threading.Thread(target=_read, args=(process, watch), daemon=True)
        reader.start()
        try:
            yield watch
        finally:
            process.kill()
            reader.join(5)


def _read(process: subprocess.Popen[str], watch: Watch) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        # A field that a GPU does not have is "[N/A]".
        with contextlib.suppress(ValueError):
            watch.samples.append(tuple(float(word) for word in line.split(",")))
