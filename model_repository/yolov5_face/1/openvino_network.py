"""The detector's ONNX file, run by OpenVINO on the CPU; called like a session of ONNX Runtime."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np


class OpenVinoNetwork:
    """Runs one image after the other in each thread that asks.

    Args:
        path: The ONNX file.
        streams: Threads that may ask at the same time.
        threads: CPU threads of each.
        precision: Of the computation: "bf16" or "f32". Input and outputs stay the same.

    Raises:
        RuntimeError: OpenVINO cannot run it so.
        ImportError: OpenVINO is not installed.
    """

    def __init__(self, path: Path, *, streams: int, threads: int, precision: str = "bf16") -> None:
        # Its package for usage reports; without it OpenVINO has a stub that does nothing.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino

        settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            # Several processes of one server would all be put on the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._network = openvino.Core().compile_model(str(path), "CPU", settings)
        taken = self._network.get_property("INFERENCE_PRECISION_HINT")
        if taken != getattr(openvino.Type, precision):
            raise RuntimeError(f"OpenVINO computes in {taken.get_type_name()} here")
        self._own = threading.local()
        side = 64  # A multiple of every stride.
        (scores, _) = self.run(
            ("candidates", "priors"), {"images": np.zeros((1, side, side, 3), np.uint8)}
        )
        if not np.isfinite(scores).all():
            raise RuntimeError("OpenVINO's scores are not finite")

    def run(self, outputs: Any, inputs: dict[str, Any], _options: object = None) -> list[Any]:
        """The outputs named, for one batch; as `onnxruntime.InferenceSession.run`."""
        if not hasattr(self._own, "request"):
            self._own.request = self._network.create_infer_request()
        request = self._own.request
        request.infer(inputs)
        # Its memory is the next inference's as well.
        return [request.get_tensor(name).data.copy() for name in outputs]
