"""The NVIDIA GPUs of this machine."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from typing import Final

from faceblur.errors import ModelError

QUERY: Final = ("--query-gpu=name,compute_cap", "--format=csv,noheader")
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: As the driver calls it.
        compute_capability: Major and minor version, such as `8.6`.
    """

    name: str
    compute_capability: str


def gpus() -> list[Gpu]:
    """The GPUs that the driver lists, in its order.

    Raises:
        ModelError: There is no driver, or it lists none.
    """
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise ModelError(
            "there is no NVIDIA driver here (nvidia-smi is not on PATH); a plan is built on the "
            "GPU that will run it, so run this there"
        )
    try:
        done = subprocess.run(
            [tool, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise ModelError(
            f"the NVIDIA driver does not answer ({error}); check nvidia-smi"
        ) from error
    rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line]
    if not rows:
        raise ModelError("the NVIDIA driver lists no GPU; check nvidia-smi")
    return [Gpu(name.strip(), capability.strip()) for name, capability in rows]
