"""The detector in this process: the same ONNX file and the same decode as behind Triton."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from faceblur.detection import decoding as postprocess
from faceblur.detection.cores import cpu_share
from faceblur.detection.detector import ModelInfo, ModelInput
from faceblur.detection.models import INPUT, OUTPUTS, read_model_info
from faceblur.detection.runtimes import CPU_CHOICE, Choice, open_network
from faceblur.detections import Detections
from faceblur.errors import CrowdedError, ServerError


class InProcessDetector:
    """Runs the detector without a server.

    Args:
        path: The ONNX file.
        instances: Inferences that may run at the same time; `cpu_share` when None.
        threads: CPU threads of each; `cpu_share` when None.
        model: What to say of the model; read from the file when None.
        choice: What runs it. Where that fails it is ONNX Runtime, and a warning says so.

    Attributes:
        choice: What really runs it.

    Raises:
        ModelError: The file cannot be used, or ONNX Runtime is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        instances: int | None = None,
        threads: int | None = None,
        model: ModelInfo | None = None,
        choice: Choice = CPU_CHOICE,
    ) -> None:
        share = cpu_share()
        instances = instances or choice.instances or share[0]
        self.choice, self._session = open_network(
            path, choice=choice, instances=instances, threads=threads or share[1]
        )
        self.model = model or read_model_info(path)
        self._pool = ThreadPoolExecutor(instances, thread_name_prefix="faceblur-detect")

    def submit(self, inputs: Sequence[ModelInput], *, min_score: float) -> list[Future[Detections]]:
        """Start the detection; see `faceblur.detection.detector.Detector`."""
        return [self._pool.submit(self._detect, each, min_score) for each in inputs]

    def _detect(self, model_input: ModelInput, min_score: float) -> Detections:
        try:
            candidates, priors = self._session.run(OUTPUTS, {INPUT: model_input[None]})
            faces = postprocess.find_faces(candidates, priors, np.array([min_score]))
        except ValueError as error:
            kind = CrowdedError if CrowdedError.MARK in str(error) else ServerError
            raise kind(f"the detector failed: {error}") from error
        except Exception as error:  # whatever went wrong, the frame was not checked
            raise ServerError(f"the detector failed: {error}") from error
        return Detections.from_rows(faces[0])

    def close(self) -> None:
        """Wait for what is running and release the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
