"""Try a model on a GPU and measure what it takes there: `python -m faceblur.detection.gpu.probe`.

A process of its own, since CUDA can end the one that it runs in. Reads a `Question` from stdin as
JSON and writes an `Answer`; fails with a sentence on stderr.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

BATCHES: Final = (1, 2, 4, 8)
SHAPE: Final = (384, 640, 3)
"""Of the images: most videos and cameras are 16:9."""

ENOUGH: Final = 0.9
"""Of the best throughput: a smaller batch with that much waits for fewer frames."""

MIN_INSTANCES: Final = 2
MAX_INSTANCES: Final = 4
"""Each takes memory for every shape."""
_WARM_UP: Final = 3
_MEASURED_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Question:
    """What to try.

    Attributes:
        network: What `gpu_network.open_network` takes, paths as text.
        cores: CPU cores that the server may use.
    """

    network: dict[str, Any]
    cores: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found.

    Attributes:
        provider: What really ran the convolutions.
        batch: Images in one run.
        full_from: Images that are worth a full batch: so many alone take longer.
        instances: Networks at the same time that keep the GPU busy.
        images_per_s: Of one network, by batch.
        decoding_s: CPU time of one image after the network.
    """

    provider: str
    batch: int
    full_from: int
    instances: int
    images_per_s: dict[str, float]
    decoding_s: float


def measure(question: Question) -> Answer:
    """Open the network, run it in several batches, and work out how to use it.

    Raises:
        Exception: Whatever goes wrong.
    """
    from faceblur.detection.decoding import find_faces
    from faceblur.detection.models import INPUT, OUTPUTS
    from faceblur.detection.repository import load_code

    code = load_code("yolov5_face", "gpu_network")
    network = code.open_network(
        Path(question.network["path"]), **{k: v for k, v in question.network.items() if k != "path"}
    )
    random = np.random.default_rng(0)
    rates = {}
    for batch in BATCHES:
        images = random.integers(0, 256, (batch, *SHAPE), dtype=np.uint8)
        rates[batch] = batch / _seconds(lambda: network.run(OUTPUTS, {INPUT: images}))  # noqa: B023
    candidates, priors = network.run(
        OUTPUTS, {INPUT: random.integers(0, 256, (1, *SHAPE), dtype=np.uint8)}
    )
    decoding_s = _seconds(lambda: find_faces(candidates, priors, np.array([0.5])))
    batch = chosen_batch(rates)
    return Answer(
        provider=network.provider,
        batch=batch,
        full_from=chosen_fill(rates, batch),
        instances=chosen_instances(1 / rates[batch], decoding_s, question.cores),
        images_per_s={str(key): round(value, 1) for key, value in rates.items()},
        decoding_s=decoding_s,
    )


def chosen_batch(rates: dict[int, float]) -> int:
    """The smallest batch that is about as fast as the best, by images a second of each."""
    return min(batch for batch, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


def chosen_fill(rates: dict[int, float], batch: int) -> int:
    """How many images take longer one by one than a full batch does, two at least."""
    return max(2, min(batch, math.ceil(batch / rates[batch] * rates[1])))


def chosen_instances(gpu_s: float, cpu_s: float, cores: int) -> int:
    """How many networks keep a GPU busy: while one decodes, others compute.

    Args:
        gpu_s: Seconds of the GPU for one image.
        cpu_s: Seconds of a CPU core for one image.
        cores: There are so many.
    """
    wanted = math.ceil(1 + cpu_s / gpu_s)
    return max(MIN_INSTANCES, min(wanted, cores, MAX_INSTANCES))


def _seconds(run: Callable[[], object]) -> float:
    """Median seconds of a call, after a few that do not count."""
    for _ in range(_WARM_UP):
        run()
    taken: list[float] = []
    while len(taken) < _WARM_UP or sum(taken) < _MEASURED_S:
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Answer the question on stdin."""
    try:
        answer = measure(Question(**json.load(sys.stdin)))
    except Exception as error:  # noqa: BLE001  the reason is the answer
        sys.exit(" ".join(str(error).split()))
    sys.stdout.write(json.dumps(asdict(answer)))


if __name__ == "__main__":
    main()
