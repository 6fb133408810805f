"""How a tritonserver on this machine listens and computes, and its command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from faceblur.detection.detector import ModelInfo
from faceblur.detection.options import MAX_SIDE
from faceblur.detection.runtimes import CPU_CHOICE, Choice
from faceblur.detection.triton.runtime import MIN_INSTANCES, server_share
from faceblur.errors import InputError

CONTROL = ("shared-memory", "model-repository", "statistics", "trace", "logging")
"""Calls that nobody but us has a use for: who makes them can point a request's images at others,
or have the server write what it sees."""


GPU_COPIES: Final = 32
"""Half of the server's queue: frames need room beside them."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How a server on this machine listens and computes.

    Attributes:
        onnx: The detector's ONNX file.
        model: What the server shall say of it.
        host: Address to listen on.
        port: gRPC port; a free one when 0.
        metrics_port: Port of the Prometheus metrics; none when None.
        instances: Inferences that run at the same time, on each GPU or on the CPU, at least
            `MIN_INSTANCES`.
        threads: CPU threads of each.
        certificate: PEM certificate chain of the server, for TLS.
        key: PEM private key of the server.
        client_ca: PEM file of the authority of client certificates, for mutual TLS.
        choice: What runs the model.
        jpeg: Serve images that come as JPEG too.
        chained: Post-process in a model of its own, as the configurations for a GPU do.
        warm_up: Run every canonical shape before the server counts as ready. The first run of a
            shape takes a little longer; who waits for the server waits for all of them.
        max_side: Pixels of the largest side that a canvas may have; larger ones are refused, each
            by itself. Memory and time grow with its square.
        closed: Calls that need the server's token.
        share_memory: Let this user's programs have the token, and with it shared memory.
        start_timeout_s: Seconds until it must be ready; on a GPU three times as many.

    Raises:
        InputError: There are too few instances.
    """

    onnx: Path
    model: ModelInfo
    host: str = "127.0.0.1"
    port: int = 0
    metrics_port: int | None = None
    instances: int = field(default_factory=lambda: server_share()[0])
    threads: int = field(default_factory=lambda: server_share()[1])
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    choice: Choice = CPU_CHOICE
    jpeg: bool = True
    chained: bool = False
    warm_up: bool = True
    max_side: int = MAX_SIDE
    closed: tuple[str, ...] = CONTROL
    share_memory: bool = True
    start_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what would stall."""
        if self.instances < MIN_INSTANCES:
            raise InputError(
                f"a server with {self.instances} instance of the detector stalls; give at least "
                f"{MIN_INSTANCES}"
            )

    @property
    def all_instances(self) -> int:
        """Inferences that run at the same time, on all GPUs."""
        return self.instances * (1 if self.choice.use is None else len(self.choice.use.gpus))

    @property
    def canary_copies(self) -> int:
        """Check images at once that reach every instance, or nearly: one takes a whole batch."""
        use = self.choice.use
        copies = 2 * self.all_instances
        return copies if use is None else min(copies * use.batch, GPU_COPIES)

    @property
    def patience_s(self) -> float:
        """Seconds until it must be ready: each instance has CUDA's libraries to load."""
        return self.start_timeout_s * (1 if self.choice.use is None else 3)


def command_line(options: ServerOptions, folder: Path, port: int, shm_prefix: str) -> Sequence[str]:
    """The server's arguments; the folder holds its `models` and `backends`."""
    command = [
        f"--model-repository={folder / 'models'}",
        f"--backend-directory={folder / 'backends'}",
        "--model-config-name=embedded",
        "--model-control-mode=none",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        "--exit-on-error=true",
        "--allow-http=false",
        f"--grpc-address={options.host}",
        f"--grpc-port={port}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        "--exit-timeout-secs=5",
    ]
    if options.metrics_port is None:
        command.append("--allow-metrics=false")
    else:
        command += [f"--metrics-address={options.host}", f"--metrics-port={options.metrics_port}"]
    if options.certificate is not None:
        command += [
            "--grpc-use-ssl=true",
            f"--grpc-server-cert={options.certificate}",
            f"--grpc-server-key={options.key}",
        ]
    if options.client_ca is not None:
        command += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={options.client_ca}"]
    return command
