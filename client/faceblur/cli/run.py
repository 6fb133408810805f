"""`faceblur run`: many cameras in one process."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Final, get_args

import click

from faceblur.cli.options import FilePath, bundle, option
from faceblur.errors import InputError
from faceblur.live.service.logs import LogFormat, SecretFilter, set_up_logs
from faceblur.live.service.service import Service
from faceblur.live.service.signals import obeying_signals
from faceblur.live.sharding.keeper import LeaseKeeper
from faceblur.live.sharding.kubernetes import ApiServer, KubernetesLeases
from faceblur.live.sharding.shard import TURNS, Shard
from faceblur.live.tracing import trace_frames


def _guard(log_format: LogFormat, quiet: bool, verbose: bool) -> SecretFilter:
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    return set_up_logs(format_=log_format, level=level)


log_options = bundle(
    "guard",
    _guard,
    option(
        "--log-format",
        type=click.Choice(get_args(LogFormat)),
        default="text",
        help="How the log on stderr is written.",
    ),
    option("-q", "--quiet", is_flag=True, help="Log warnings and errors alone."),
    option("-v", "--verbose", is_flag=True, help="Log everything."),
)


LEASE_S: Final = 15.0
"""Several times what a cluster's API may take to answer, and a short time without a camera."""


def _leases(
    shard_by: str | None, shard_group: str | None, lease_s: float | None
) -> LeaseKeeper | None:
    if shard_by is None:
        if shard_group is not None or lease_s is not None:
            raise InputError("--shard-group and --lease-s go with --shard-by lease; give it too")
        return None
    lease_s = LEASE_S if lease_s is None else lease_s
    store = KubernetesLeases(
        ApiServer.of_this_pod(),
        group=shard_group or "faceblur",
        timeout_s=lease_s / TURNS,
    )
    return LeaseKeeper(Shard(store, member=socket.gethostname(), lease_s=lease_s))


shard_options = bundle(
    "leases",
    _leases,
    option(
        "--shard-by",
        type=click.Choice(["lease"]),
        help="Share the cameras with other pods of this Kubernetes namespace: each runs in one.",
    ),
    option(
        "--shard-group",
        metavar="NAME",
        help="The services that share cameras; faceblur by default.",
    ),
    option(
        "--lease-s",
        type=click.FloatRange(5.0, 300.0),
        metavar="SECONDS",
        help="After how long a camera of a lost service is taken by another; 15 by default.",
    ),
)


trace_option = option(
    "--trace",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    metavar="SHARE",
    help="Trace this share of all frames with OpenTelemetry; none by default.",
)


@click.command()
@click.argument("file", type=FilePath, metavar="CAMERAS.YAML")
@shard_options
@trace_option
@log_options
def run(
    *, file: Path, leases: LeaseKeeper | None, trace: float | None, guard: SecretFilter
) -> None:
    """Mask the faces of many cameras, until SIGTERM or Ctrl-C.

    SIGHUP reads the file again and touches only the cameras that changed. Metrics, health and
    status are served at the file's listen address. docs/cameras.yaml shows every setting.
    """
    end_tracing = None if trace is None else trace_frames(trace)
    try:
        service = Service(file, guard=guard, leases=leases)
        with obeying_signals(service):
            service.run()
    finally:
        if end_tracing is not None:
            end_tracing()
