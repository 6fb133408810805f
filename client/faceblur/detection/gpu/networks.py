"""Several networks on one GPU, for the threads of this process."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from faceblur.detection.gpu.use import GpuUse
from faceblur.detection.repository import load_code


class GpuNetworks:
    """Gives each inference a network that is free, with its own stream and memory.

    Args:
        use: How the model is used; of its GPUs the first.
        instances: Inferences that may run at the same time.

    Raises:
        RuntimeError: The GPU cannot run it.
        ImportError: ONNX Runtime is not installed.
    """

    def __init__(self, use: GpuUse, *, instances: int) -> None:
        code = load_code("yolov5_face", "gpu_network")
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(instances):
            self._free.put(code.open_network(use.onnx, **use.network(use.gpus[0].index)))

    def run(
        self, outputs: Sequence[str], inputs: dict[str, Any], options: object = None
    ) -> list[Any]:
        """The outputs named, for one batch; as `onnxruntime.InferenceSession.run`."""
        network = self._free.get()
        try:
            found: list[Any] = network.run(outputs, inputs, options)
        finally:
            self._free.put(network)
        return found
