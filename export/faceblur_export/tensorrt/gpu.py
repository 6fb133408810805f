"""The NVIDIA GPUs of this machine."""

from __future__ import annotations

import ctypes
import logging
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any, Final

from faceblur.errors import ModelError

logger = logging.getLogger(__name__)

QUERY: Final = ("--query-gpu=name,compute_cap", "--format=csv,noheader")
TIMEOUT_S: Final = 30.0

DRIVER_LIBRARY: Final = "libcuda.so.1"

_MAJOR, _MINOR = 75, 76
"""`CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`, in `cuda.h`."""

_NAME_BYTES = 256


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name as the driver calls it, and its compute capability, such as `8.6`."""

    name: str
    compute_capability: str


def gpus() -> list[Gpu]:
    """The GPUs that the driver lists, in its order.

    Where there is no nvidia-smi, or one that does not know (as on a Jetson), the driver's library
    is asked.

    Raises:
        ModelError: There is no driver, or it lists none.
    """
    tool = shutil.which("nvidia-smi")
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        driver = None
    if tool is not None:
        try:
            return _listed(tool)
        except ModelError as error:
            if driver is None:
                raise
            logger.debug("%s; asking the driver's library", error)
    if driver is not None:
        return _counted(driver)
    raise ModelError(
        "there is no NVIDIA driver here (no nvidia-smi on PATH, no libcuda); a plan is built on "
        "the GPU that will run it, so run this there"
    )


def _listed(tool: str) -> list[Gpu]:
    """What nvidia-smi says."""
    try:
        done = subprocess.run(
            [tool, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise ModelError(
            f"the NVIDIA driver does not answer ({error}); check nvidia-smi"
        ) from error
    rows = [line.rsplit(",", 1) for line in done.stdout.splitlines() if "," in line]
    found = [Gpu(name.strip(), capability.strip()) for name, capability in rows]
    if not found or not all(gpu.compute_capability[:1].isdigit() for gpu in found):
        raise ModelError("the NVIDIA driver lists no GPU; check nvidia-smi")
    return found


def _counted(driver: Any) -> list[Gpu]:
    """What the driver's library says."""

    def call(function: str, *arguments: Any) -> None:
        status = getattr(driver, function)(*arguments)
        if status != 0:
            raise ModelError(
                f"the NVIDIA driver does not answer ({function} gives error {status}); check that "
                "this container may use the GPU"
            )

    count, device, value = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    call("cuInit", 0)
    call("cuDeviceGetCount", ctypes.byref(count))
    found = []
    for index in range(count.value):
        call("cuDeviceGet", ctypes.byref(device), index)
        call("cuDeviceGetName", name, _NAME_BYTES, device)
        capability = []
        for attribute in (_MAJOR, _MINOR):
            call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
            capability.append(str(value.value))
        found.append(Gpu(name.value.decode(), ".".join(capability)))
    if not found:
        raise ModelError("the NVIDIA driver lists no GPU; check nvidia-smi")
    return found
