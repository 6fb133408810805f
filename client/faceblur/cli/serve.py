"""`faceblur serve`: a Triton server that stays up."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from faceblur import models
from faceblur.canary import GuardedDetector
from faceblur.cli.options import FilePath, logging_options
from faceblur.clitools import configure_logging
from faceblur.connection import TLS, Connection
from faceblur.defaults import BUNDLED_MODEL, DEFAULT_SERVER
from faceblur.errors import InputError
from faceblur.triton import TritonDetector
from faceblur.triton_server import ServerOptions, TritonServer

DEADLINE_S = 10.0


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=int(DEFAULT_SERVER.rpartition(":")[2]),
    show_default=True,
    help="gRPC port.",
)
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Port of Prometheus metrics.")
@click.option("--model", default=BUNDLED_MODEL, show_default=True, help="Name or ONNX file.")
@click.option(
    "--threads", type=click.IntRange(min=0), default=0, help="Threads of one inference. [all]"
)
@click.option("--tls-cert", type=FilePath, help="PEM file of the server's certificate.")
@click.option("--tls-key", type=FilePath, help="PEM file of its private key.")
@click.option(
    "--tls-ca",
    type=FilePath,
    help="PEM file of the authority of both sides: only its clients are let in (mutual TLS).",
)
@logging_options
def serve(
    *,
    host: str,
    port: int,
    metrics_port: int | None,
    model: str,
    threads: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run a Triton server until Ctrl-C.

    A known picture is sent through it every few seconds; when its face does not come back, the
    server is started anew.
    """
    configure_logging(verbose=verbose, quiet=quiet)
    onnx, info = models.find(model)
    options = ServerOptions(
        onnx=onnx,
        model=info,
        host=host,
        port=port,
        metrics_port=metrics_port,
        threads=threads,
        certificate=tls_cert,
        key=tls_key,
        client_ca=tls_ca,
    )
    tls = _canary_tls(tls_cert, tls_key, tls_ca)
    with TritonServer(options) as server:
        detector = TritonDetector(
            Connection(address=server.address, tls=tls, deadline_s=DEADLINE_S, transport="raw")
        )
        guarded = GuardedDetector(detector, deadline_s=DEADLINE_S, revive=server.restart)
        if not quiet:
            click.echo(f"serving {info.name} at {server.address}; Ctrl-C stops it")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            guarded.close()


def _canary_tls(certificate: Path | None, key: Path | None, ca: Path | None) -> TLS | None:
    if certificate is None and key is None and ca is None:
        return None
    if certificate is None or key is None:
        raise InputError("TLS needs --tls-cert and --tls-key; give both")
    if ca is None:
        return TLS(root_ca=certificate)
    return TLS(root_ca=ca, certificate=certificate, key=key)
