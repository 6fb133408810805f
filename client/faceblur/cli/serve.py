"""`faceblur serve`: a Triton server that stays up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from faceblur.cli.options import FilePath, bundle, logging_options, option
from faceblur.cli.sections import SECTIONS, sectioned
from faceblur.detection import models, runtimes
from faceblur.detection.canary import GuardedDetector
from faceblur.detection.options import DEFAULT_SIZE, LARGEST_SIZE, MAX_SIDE
from faceblur.detection.repository import BUNDLED_MODEL
from faceblur.detection.triton.client import TritonDetector
from faceblur.detection.triton.connection import DEFAULT_SERVER, TLS, Connection
from faceblur.detection.triton.loopback import is_loopback
from faceblur.detection.triton.runtime import MIN_INSTANCES, server_share
from faceblur.detection.triton.server import TritonServer
from faceblur.detection.triton.server_options import ServerOptions
from faceblur.errors import InputError

DEADLINE_S = 10.0
GRACE_S = 5.0
"""What requests under way get when the server is told to stop."""

SWEEP_S: Final = 2.0
"""Seconds for which images of a client that was killed may stay in the server's memory."""

_POLL_S: Final = 0.2


def _gpus(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    try:
        numbers = tuple(int(number) for number in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise InputError(f"--gpu {value}: give numbers of GPUs, such as 0 or 0,1; see nvidia-smi")
    return numbers


def _serving(
    host: str,
    port: int,
    metrics_port: int | None,
    model: str,
    instances: int | None,
    threads: int | None,
    gpus: tuple[int, ...] | None,
    max_side: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    insecure: bool,
) -> ServerOptions:
    if (tls_cert is None) != (tls_key is None) or (tls_ca is not None and tls_cert is None):
        raise InputError("TLS needs --tls-cert and --tls-key; give both")
    # Triton itself would blame its port.
    TLS(root_ca=tls_ca, certificate=tls_cert, key=tls_key)
    alone = is_loopback(host)
    if not alone and tls_ca is None and not insecure:
        raise InputError(
            f"--host {host} lets everybody in the network use this server; give --tls-cert, "
            "--tls-key and --tls-ca (deploy/tls/make-certificates makes them), or --insecure "
            "where everybody may"
        )
    onnx, info = models.find(model)
    share = server_share()
    choice = runtimes.choose(onnx, gpus=gpus)
    return ServerOptions(
        onnx=onnx,
        model=info,
        host=host,
        port=port,
        metrics_port=metrics_port,
        instances=instances or choice.instances or share[0],
        threads=threads or share[1],
        max_side=max_side,
        choice=choice,
        certificate=tls_cert,
        key=tls_key,
        client_ca=tls_ca,
        share_memory=alone,
    )


serving_options = bundle(
    "options",
    _serving,
    option("--host", default="127.0.0.1", help="Address to listen on."),
    option(
        "--port",
        type=click.IntRange(1, 65535),
        default=int(DEFAULT_SERVER.rpartition(":")[2]),
        help="gRPC port.",
    ),
    option("--metrics-port", type=click.IntRange(1, 65535), help="Prometheus metrics."),
    option(
        "--model",
        default=BUNDLED_MODEL,
        help="bundled, fast (smaller), the name of a fetched model, or an ONNX file.",
    ),
    option(
        "--instances", type=click.IntRange(MIN_INSTANCES, 64), help="Inferences at the same time."
    ),
    option("--threads", type=click.IntRange(1, 256), help="CPU threads of each."),
    option(
        "--gpu",
        "gpus",
        callback=_gpus,
        metavar="NUMBERS",
        help="NVIDIA GPUs that run it, such as 0 or 0,1; each has instances of its own.  "
        "[default: the first, where it works]",
    ),
    option(
        "--max-side",
        type=click.IntRange(DEFAULT_SIZE, LARGEST_SIZE),
        default=MAX_SIDE,
        metavar="PX",
        help="Refuse larger images: memory and time grow with the square of this.",
    ),
    option("--tls-cert", type=FilePath, help="PEM file of the server's certificate."),
    option("--tls-key", type=FilePath, help="PEM file of its private key."),
    option(
        "--tls-ca",
        type=FilePath,
        help="PEM file of the authority of both sides: only its clients are let in (mutual TLS).",
    ),
    option(
        "--insecure",
        is_flag=True,
        help="Listen on a network without mutual TLS: anybody who reaches it can use the server.",
    ),
)


@click.command(
    cls=sectioned(
        "Where it listens",
        "--host --port --metrics-port --tls-cert --tls-key --tls-ca --insecure",
        {
            "What it runs": "--model --gpu --instances --threads --max-side",
            "Output": SECTIONS["Output"],
        },
    )
)
@serving_options
@logging_options
def serve(*, options: ServerOptions, quiet: bool) -> None:
    """Run a Triton server until Ctrl-C.

    The check image is sent through it every few seconds; when its face does not come back, the
    server is restarted.
    """
    tls = _canary_tls(options)
    with TritonServer(options) as server:
        detector = TritonDetector(
            Connection(address=server.address, tls=tls, deadline_s=DEADLINE_S, transport="raw")
        )
        guarded = GuardedDetector(
            detector,
            deadline_s=DEADLINE_S,
            copies=server.options.canary_copies,
            revive=server.restart,
        )
        if not quiet:
            by = server.options.choice.where
            click.echo(f"serving {options.model.name} at {server.address}, {by}; Ctrl-C stops it")
        try:
            # A signal that another thread happens to receive does not wake this one.
            while True:
                detector.forget_abandoned_regions()
                until = time.monotonic() + SWEEP_S
                while time.monotonic() < until:
                    time.sleep(_POLL_S)
        except KeyboardInterrupt:
            pass
        finally:
            guarded.close()
            server.stop(grace_s=GRACE_S)


def _canary_tls(options: ServerOptions) -> TLS | None:
    if options.certificate is None:
        return None
    if options.client_ca is None:
        return TLS(root_ca=options.certificate)
    return TLS(root_ca=options.client_ca, certificate=options.certificate, key=options.key)
