"""The NVIDIA GPUs of this machine, by the library that comes with their driver."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

_LIBRARY: Final = "libnvidia-ml.so.1"
_FOLDERS: Final = ("", "/usr/local/nvidia/lib64/", "/usr/lib/wsl/lib/")
"""Where it may lie: where the system looks, in containers, in Windows' Linux."""

_TEXT_BYTES: Final = 96


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        index: Number that CUDA has for it in a process that counts by PCI bus.
        name: Such as `NVIDIA L4`.
        driver: Version of the driver.
        memory_bytes: All of its memory.
    """

    index: int
    name: str
    driver: str
    memory_bytes: int


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def find_gpus() -> tuple[Gpu, ...]:
    """The GPUs that this process may use; none where there is no driver, or none answers.

    `CUDA_VISIBLE_DEVICES` says which, as for every program.
    """
    for folder in _FOLDERS:
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(f"{folder}{_LIBRARY}")
            if library.nvmlInit_v2() != 0:
                return ()
            try:
                return tuple(_visible(list(_all(library))))
            finally:
                library.nvmlShutdown()
    return ()


def _all(library: ctypes.CDLL) -> Iterator[tuple[str, Gpu]]:
    """Each GPU with its unique name."""
    count = ctypes.c_uint()
    driver = ctypes.create_string_buffer(_TEXT_BYTES)
    if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return
    library.nvmlSystemGetDriverVersion(driver, _TEXT_BYTES)
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
            continue
        name = ctypes.create_string_buffer(_TEXT_BYTES)
        unique = ctypes.create_string_buffer(_TEXT_BYTES)
        memory = _Memory()
        library.nvmlDeviceGetName(handle, name, _TEXT_BYTES)
        library.nvmlDeviceGetUUID(handle, unique, _TEXT_BYTES)
        library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
        yield (
            unique.value.decode(),
            Gpu(index, name.value.decode(), driver.value.decode(), memory.total),
        )


def _visible(gpus: list[tuple[str, Gpu]]) -> Iterator[Gpu]:
    """Those that CUDA would show, numbered as it would number them."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        yield from (gpu for _, gpu in gpus)
        return
    for number, entry in enumerate(wanted.split(",")):
        name = entry.strip()
        match = [g for unique, g in gpus if name in (str(g.index), unique)]
        if not match:
            return  # As CUDA does: what is unknown hides all that follow.
        yield replace(match[0], index=number)
