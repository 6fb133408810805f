"""Read the pickle inside a PyTorch archive without running any code that it names.

A PyTorch checkpoint is a zip archive: a pickle that describes the objects, and one file of raw
bytes for each tensor. The official YOLOv5-face checkpoints pickle whole modules, and unpickling
those the usual way imports and calls whatever the file says. Here only tensors and plain
containers become what they are; modules become stand-ins that hold their attributes and do
nothing, and any other name is refused.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, Final

import torch
from torch import Tensor

from faceblur.errors import ModelError

STORAGES: Final = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""Storage classes of PyTorch, and the type of their elements."""

STAND_IN_MODULES: Final = ("models.", "torch.nn.modules.")
"""Modules whose classes become stand-ins: YOLOv5-face's own and PyTorch's layers."""

STAND_INS: Final = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("torch", "Size"),
    ("torch", "device"),
}
"""Other names that become stand-ins: training statistics that nothing here reads."""


class StandIn:
    """Takes the place of an object of any class: keeps its attributes, does nothing."""

    def __new__(cls, *_: object, **__: object) -> StandIn:
        """Take any arguments, as the real class might."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        """Keep the attributes when there are any."""
        if isinstance(state, dict):
            self.__dict__.update(state)


class InertUnpickler(pickle.Unpickler):
    """Unpickler that makes tensors, containers and stand-ins, and refuses all else by name."""

    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._prefix = prefix
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Give what a name stands for; nothing is ever imported.

        Raises:
            ModelError: The name is not one that a checkpoint needs.
        """
        real = {
            ("collections", "OrderedDict"): OrderedDict,
            ("__builtin__", "set"): set,
            ("builtins", "set"): set,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
        }
        if (module, name) in real:
            return real[module, name]
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        layer = module.startswith(STAND_IN_MODULES) and name.isidentifier()
        if layer or (module, name) in STAND_INS:
            return type(name, (StandIn,), {})
        raise ModelError(
            f"the checkpoint asks for {module}.{name}, which is no part of a network: "
            "it was not run; do not trust this file"
        )

    def persistent_load(self, pid: Any) -> Tensor:
        """Read the raw bytes of one storage as a flat tensor."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError(f"unknown reference {kind!r}")
        if key not in self._storages:
            info = self._archive.getinfo(f"{self._prefix}data/{key}")
            # Stored as it is, and as long as it says: a small file cannot fill the memory.
            if info.compress_type != zipfile.ZIP_STORED or info.file_size != count * dtype.itemsize:
                raise ValueError(f"storage {key} is not {count} elements of {dtype}")
            data = bytearray(self._archive.read(info))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0)
        return self._storages[key]

    @staticmethod
    def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
        # as_strided refuses to look outside the storage.
        return torch.as_strided(storage, size, stride, offset).clone()

    @staticmethod
    def _parameter(data: Tensor, *_: object) -> Tensor:
        return data


def load(path: Path) -> Any:
    """Read a checkpoint.

    Returns:
        What was pickled, with tensors as they were and modules as `StandIn`.

    Raises:
        ModelError: The file cannot be read, or names anything that is not part of a network.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if len(pickled) != 1:
                raise ModelError(f"{path} is not a PyTorch checkpoint")
            prefix = pickled[0].removesuffix("data.pkl")
            byte_order = f"{prefix}byteorder"
            if byte_order in archive.namelist() and archive.read(byte_order) != b"little":
                raise ModelError(f"{path} was saved on a big-endian machine; save it again")
            with archive.open(pickled[0]) as file:
                return InertUnpickler(file, archive, prefix).load()
    except ModelError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ModelError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except Exception as error:
        raise ModelError(
            f"{path} is not a readable PyTorch checkpoint (damaged, cut short, or saved by "
            "PyTorch before 1.6); fetch it again"
        ) from error
