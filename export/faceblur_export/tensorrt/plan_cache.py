"""A plan that is there already, in place of building it again."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faceblur.errors import ModelError
from faceblur.files import file_sha256
from faceblur_export.tensorrt.builders import PlanBuilder
from faceblur_export.tensorrt.gpu import Gpu
from faceblur_export.tensorrt.plan import PlanOptions, check_plan

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptPlan:
    """A builder that has built already, for a runtime and a version of that."""

    runtime: str
    version: str
    plan: bytes

    def build(self, *_: object) -> bytes:
        """Give the plan, whatever the model, the profiles and the progress."""
        return self.plan


def keep_plan(
    plan: Path, onnx_path: Path, options: PlanOptions, *, gpus: Sequence[Gpu]
) -> PlanOptions:
    """Options that build nothing where a plan fits already.

    They are those given, with the plan that is there in place of the builder where it does not
    differ from what they would build of the detector at `onnx_path` for every one of the GPUs.
    """
    try:
        manifest = check_plan(plan, builder=options.builder, gpus=gpus)
    except ModelError as error:
        logger.info("%s", error)
        return options
    wanted = (file_sha256(onnx_path), options.precision, options.size, options.gpu)
    gpu = Gpu(manifest.gpu, manifest.compute_capability)
    if (manifest.onnx_sha256, manifest.precision, manifest.size, gpu) != wanted:
        logger.info("%s was built of another model, or otherwise", plan)
        return options
    builder: PlanBuilder = KeptPlan(manifest.runtime, manifest.tensorrt_version, plan.read_bytes())
    return dataclasses.replace(options, builder=builder, verdict=manifest.gate)
