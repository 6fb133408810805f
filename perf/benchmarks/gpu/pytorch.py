"""The same network by PyTorch, with nothing around it: what the GPU could do, for comparison."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.gpu.networks import Network
from benchmarks.gpu.results import Raw

NAME = "PyTorch, images stay on the GPU"


def measure(
    network: Network,
    *,
    batches: Sequence[int],
    shape: tuple[int, int],
    seconds: float,
    device: str = "cuda",
) -> Iterator[Raw]:
    """The network up to its head maps, with random weights, as one CUDA graph.

    Args:
        network: Says which variant, and FP16 or not.
        batches: Images in one run.
        shape: Height and width of an image.
        seconds: For each batch.
        device: Of PyTorch.
    """
    import torch

    from faceblur_export.network import build

    kind = torch.float16 if network.precision == "fp16" else torch.float32
    model = build(network.variant).fuse().to(device, kind, memory_format=torch.channels_last)
    for batch in batches:
        images = torch.rand((batch, 3, *shape), device=device).to(
            kind, memory_format=torch.channels_last
        )

        def run(images: torch.Tensor = images) -> None:
            model.head_maps(images)

        with torch.inference_mode():
            work, wait = (run, lambda: None) if device == "cpu" else _captured(run)
            taken = _times(work, wait, seconds)
        yield Raw(
            network=network.name,
            precision=network.precision,
            runtime=NAME,
            batch=batch,
            images_per_s=round(len(taken) * batch / sum(taken), 1),
            ms=round(statistics.median(taken) * 1e3, 3),
        )


def _captured(run: Callable[[], None]) -> tuple[Callable[[], None], Callable[[], None]]:
    """The work as one launch, and what waits for it."""
    import torch

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay, torch.cuda.synchronize


def _times(work: Callable[[], None], wait: Callable[[], None], seconds: float) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 3:
        start = time.perf_counter()
        work()
        wait()
        taken.append(time.perf_counter() - start)
    return taken
