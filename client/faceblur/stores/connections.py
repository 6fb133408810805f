"""Connections to stores: which there are, and how their libraries are to behave."""

from __future__ import annotations

import functools
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from faceblur.errors import InputError
from faceblur.stores.address import AZURE, WEB
from faceblur.stores.store import Going

if TYPE_CHECKING:
    # It takes its time, and who masks a file of this machine needs none of it.
    import asyncio

Result = TypeVar("Result")

S3: Final = ("s3", "s3a")
GOOGLE: Final = ("gs", "gcs")
AT_ONCE: Final = frozenset((*S3, *GOOGLE, *AZURE))
"""Stores in which what is written appears when all of it is there, and not before."""

SILENT_S: Final = 60.0
"""How long a store may say nothing before it counts as gone."""

POLL_S: Final = 0.1
"""How often somebody who waits is asked whether to go on."""

_TRIES_OF_S3FS: Final = 3
"""It goes on with a large file where that was cut off."""

_LOUD: Final = ("azure", "botocore", "aiobotocore", "s3fs", "gcsfs", "adlfs", "fsspec", "google")


def appears_whole(scheme: str) -> bool:
    """Whether a file cannot be seen in such a store before all of it is there."""
    return scheme in AT_ONCE


def is_known(scheme: str) -> bool | None:
    """Whether addresses that begin so are of stores; None where a library for them is lacking."""
    try:
        import fsspec
    except ImportError:
        return None if scheme in (*AT_ONCE, *WEB) else False
    if scheme == "http" or scheme not in {*fsspec.available_protocols(), *AZURE}:
        return False
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        return None
    return True


@functools.lru_cache(maxsize=64)
def connect(scheme: str, root: str) -> Any:
    """The fsspec file system of a scheme and a bucket, container or host, one in each process."""
    import fsspec

    for name in _LOUD:
        # They would write paragraphs where one sentence is enough.
        quiet = logging.getLogger(name)
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if scheme in WEB:
        options["client_kwargs"] = _web_options()
    elif scheme in GOOGLE:
        options["session_kwargs"] = {"timeout": _patience()}
    if scheme in S3:
        # Three layers that each try again would keep one waiting for minutes.
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}}
    fs, _ = fsspec.url_to_fs(f"{scheme}://{root}/", **options)
    if scheme in S3:
        fs.retries = _TRIES_OF_S3FS
    return fs


def _patience() -> Any:
    import aiohttp

    # Of hours: what counts is that something arrives.
    return aiohttp.ClientTimeout(total=None, sock_connect=SILENT_S, sock_read=SILENT_S)


def _web_options() -> dict[str, Any]:
    """How aiohttp is to talk to a web server: by a proxy if there is one, and always encrypted."""
    import aiohttp

    async def stay_encrypted(_: Any, __: Any, event: Any) -> None:
        if event.response.headers.get("Location", "").lower().startswith("http:"):
            raise InputError(
                f"{event.url.host} sends on to an address without encryption, which anybody on the "
                "way could read: ask for one that begins with https"
            )

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(stay_encrypted)
    return {"timeout": _patience(), "trust_env": True, "trace_configs": [trace]}


def await_from(
    work: Coroutine[Any, Any, Result], loop: asyncio.AbstractEventLoop, going: Going
) -> Result:
    """Wait for what runs in the library's own thread, and end it when there is no going on."""
    import asyncio
    import concurrent.futures

    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        while not concurrent.futures.wait([future], timeout=POLL_S).done:
            going()
    except BaseException:
        future.cancel()
        concurrent.futures.wait([future], timeout=SILENT_S)
        raise
    return future.result()
