"""What a run found so far, and the time that it has left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.analyzer.points import Point
from benchmarks.gpu.agreement import Agreement

KIND: Final = "gpu"


@dataclass(frozen=True, kw_only=True)
class Raw:
    """A network without a server.

    Attributes:
        network: Its name.
        precision: How it computes.
        runtime: What runs it.
        batch: Images in one run.
        images_per_s: With the copies to the GPU and back, where there is one.
        ms: Of one run, the median.
    """

    network: str
    precision: str
    runtime: str
    batch: int
    images_per_s: float
    ms: float


@dataclass(frozen=True, kw_only=True)
class Held:
    """Cameras that one server holds.

    Attributes:
        network: Its name.
        precision: How it computes.
        runtime: What runs it.
        fps: Of each camera.
        cameras: The most that were held; 0 when even the fewest that were tried were not.
        p99_ms: With these.
        refused: The fewest that were tried and not held, None when all were.
    """

    network: str
    precision: str
    runtime: str
    fps: float
    cameras: int
    p99_ms: float | None
    refused: int | None


@dataclass
class Results:
    """All findings; written after each step, so that a run that is cut off loses nothing.

    Attributes:
        output: JSON file.
        command: That was typed.
        card: The machine and the settings.
    """

    output: Path
    command: str
    card: dict[str, Any]
    agreements: list[Agreement] = field(default_factory=list)
    raw: list[Raw] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    servers: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self) -> None:
        """Write the JSON file."""
        document = {
            "kind": KIND,
            "command": self.command,
            "card": self.card,
            "notes": self.notes,
            "agreement": [asdict(each) | {"same": each.same} for each in self.agreements],
            "raw": [asdict(each) for each in self.raw],
            "cameras": [asdict(each) for each in self.held],
            "servers": self.servers,
            "points": [point.plain() for point in self.points],
            "seconds": self.seconds,
        }
        self.output.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.output.with_suffix(".part")
        unfinished.write_text(json.dumps(document, indent=1) + "\n")
        unfinished.replace(self.output)


@dataclass(frozen=True)
class Step:
    """A part of a run.

    Attributes:
        name: In words.
        needs_s: It is left out where less time is left.
        work: Does it.
    """

    name: str
    needs_s: float
    work: Callable[[], None]


class Budget:
    """The time that a run may take."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()
