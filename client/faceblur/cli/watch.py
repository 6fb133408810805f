"""`faceblur watch`: mask what arrives in a folder or a store."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import nullcontext
from pathlib import Path

import click

from faceblur.batch.outcome import RunOptions
from faceblur.batch.result_names import check_apart, is_same, target_of
from faceblur.batch.stored_search import address_of
from faceblur.cli.options import bundle, option, session_options
from faceblur.cli.policy_options import policy_options
from faceblur.cli.run import log_options
from faceblur.cli.run_options import AUDIT_OPTION, run_options
from faceblur.cli.sections import sectioned
from faceblur.detection.session import SessionOptions, open_session
from faceblur.errors import InputError
from faceblur.live.service.logs import SecretFilter
from faceblur.live.service.signals import obeying_signals
from faceblur.live.service.web import PageServer
from faceblur.masks.policy import Policy
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.reader import environment_key
from faceblur.stores.address import Address
from faceblur.watching.status import pages
from faceblur.watching.watch import Watch, WatchOptions

logger = logging.getLogger(__name__)


def _watch_options(every_s: float, settle_s: float) -> WatchOptions:
    return WatchOptions(every_s=every_s, settle_s=settle_s)


watch_options = bundle(
    "watching",
    _watch_options,
    option(
        "--every",
        "every_s",
        type=click.FloatRange(0.1, 86400),
        default=5.0,
        metavar="SECONDS",
        help="How often to look, where the system does not tell of new files.",
    ),
    option(
        "--settle",
        "settle_s",
        type=click.FloatRange(0, 86400),
        default=2.0,
        metavar="SECONDS",
        help="How long a file must stay unchanged before it counts as whole.",
    ),
)


@click.command(
    cls=sectioned("Most used", "--output --listen --every --settle --log-format --workers --server")
)
@click.argument("place", metavar="DIRECTORY|ADDRESS")
@option("-o", "--output", metavar="PATH", required=True, help="The directory for the results.")
@option(
    "--listen",
    metavar="HOST:PORT",
    help="Serve metrics, health and status there, as faceblur run does.",
)
@watch_options
@policy_options
@session_options
@run_options
@AUDIT_OPTION
@log_options
def watch(
    *,
    place: str,
    output: str,
    listen: str | None,
    watching: WatchOptions,
    policy: Policy,
    session: SessionOptions,
    options: RunOptions,
    audit: Path | None,
    guard: SecretFilter,  # noqa: ARG001 - it guards the log
) -> None:
    """Mask images and videos as they arrive in a directory or a store, until SIGTERM or Ctrl-C.

    Each file is taken when nobody writes it any more. What is finished already, with these
    settings and from the same content, is skipped, so that a restart goes on where it stopped.
    """
    source, results = address_of(place) or Path(place), address_of(output) or Path(output)
    if isinstance(source, Path) and not source.is_dir():
        raise InputError(f"{place} is no folder; make it first, or check the name")
    if isinstance(source, Address) and source.is_read_only:
        raise InputError(f"{source} gives single files and no list of them: it cannot be watched")
    target = target_of(results, into_folder=True)
    if is_same(source, results):
        raise InputError("the results would replace the originals; name another with --output")
    check_apart(source, results)
    detection = dataclasses.replace(policy.detection, deadline_s=session.deadline_s)
    options = dataclasses.replace(
        options,
        policy=dataclasses.replace(policy, detection=detection),
        # What is wrong with it is said before any work.
        audit=None if audit is None else AuditLog(audit, key=environment_key()),
        names_tracks=audit is not None,
    )
    with open_session(session, size=detection.size) as opened:
        made = Watch(source, target, opened, options, watching)
        server = nullcontext() if listen is None else PageServer(listen, pages(made.status))
        with server as shown, obeying_signals(made):
            at = "nowhere" if shown is None else shown.address
            logger.info("watching %s, results to %s; status at %s", source, results, at)
            made.run()
            logger.info("stopped")
