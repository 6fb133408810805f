"""Where a cluster is, and what a worker of it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from faceblur.errors import InputError

_ADDRESS: Final = re.compile(r"ray(://[^\s/@]+:\d{1,5}/?)?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """A cluster of Ray, and the workers on it.

    Attributes:
        address: `ray` for the one that RAY_ADDRESS names, else one on this machine alone;
            `ray://HOST:PORT` for one elsewhere.
        cpus_per_worker: CPUs of one worker on a machine without GPUs; None for all it has.
        workers_per_gpu: Workers that share a GPU.
        files_per_worker: Files that a worker masks at the same time; None for two for each of
            its cores, eight at most.

    Raises:
        InputError: The address is none of these.
    """

    address: str
    cpus_per_worker: int | None = None
    workers_per_gpu: int = 1
    files_per_worker: int | None = None

    def __post_init__(self) -> None:
        """Check the address."""
        if not _ADDRESS.fullmatch(self.address):
            raise InputError(
                f"--on {self.address} is no cluster: give ray, or ray://HOST:PORT (Ray's port for "
                "clients is 10001)"
            )


@dataclass(frozen=True)
class Share:
    """What one worker takes of a machine, as Ray counts it."""

    cpus: float
    gpus: float = 0.0


def shares_of(cpus: float, gpus: float, options: ClusterOptions) -> list[Share]:
    """The workers of a machine, by what Ray has of it.

    A machine with GPUs gets workers for those alone: they keep its cores busy with decoding.
    """
    whole = int(gpus)
    if whole:
        count = whole * options.workers_per_gpu
        return [Share(max(cpus / count, 0.0), 1 / options.workers_per_gpu)] * count
    each = options.cpus_per_worker or int(cpus)
    return [Share(float(each))] * (int(cpus) // each if each else 0)
