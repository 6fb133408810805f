"""On what condition a store takes a file: in place of any, of none, or of the one that was seen."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from faceblur.errors import OutputError
from faceblur.stores.address import AZURE, Address
from faceblur.stores.connections import AT_ONCE, GOOGLE, S3
from faceblur.stores.store import Entry, Replaces

_COMPLETING: Final = ("put_object", "complete_multipart_upload")
"""Requests of S3 after which a file is there."""

_CONDITION: Final = re.compile(r"&ifGenerationMatch=\d+")
_NOT_MET: Final = 412
_NOT_KNOWN: Final = 501
"""What stores say that look like S3 and know nothing of conditions."""


def is_kept_by_store(scheme: str, replaces: Replaces) -> bool:
    """Whether the store itself compares what it has with what may be replaced, as it writes."""
    return scheme in AT_ONCE and (not isinstance(replaces, Entry) or bool(replaces.tag))


def options_of(scheme: str, replaces: Replaces) -> dict[str, Any]:
    """How libraries are told of a condition that they know: all, that there is no file yet."""
    if isinstance(replaces, Entry) and replaces.tag and scheme in AZURE:
        from azure.core import MatchConditions

        return {"etag": replaces.tag, "match_condition": MatchConditions.IfNotModified}
    if replaces:
        return {}
    return {"overwrite": False} if scheme in AZURE else {"mode": "create"}


def connected_on(fs: Any, scheme: str, replaces: Replaces) -> Any:
    """A connection whose writes are made on a condition, also where its library knows none.

    Of S3 and Google, all that libraries take along is that there is no file yet.
    """
    if not isinstance(replaces, Entry) or not replaces.tag:
        return fs
    if scheme in S3:
        return _with(fs, "_call_s3", functools.partial(_ask_s3, fs._call_s3, replaces.tag))
    if scheme in GOOGLE:
        return _with(fs, "_call", functools.partial(_ask_google, fs._call, replaces.tag))
    return fs


def is_refused(error: Exception, replaces: Replaces) -> bool:
    """Whether a store has something else than what may be replaced."""
    if isinstance(error, FileExistsError):
        return True
    if not isinstance(replaces, Entry):
        return False
    return isinstance(error, FileNotFoundError) or _NOT_MET in _codes(error)


@contextmanager
def refusals_told(address: Address, replaces: Replaces) -> Iterator[None]:
    """Say in a sentence that somebody else came in between, or that nobody can tell.

    Raises:
        OutputError: What was seen is not there any more, or the store takes no condition.
    """
    try:
        yield
    except Exception as error:
        if isinstance(replaces, Entry) and _NOT_KNOWN in _codes(error):
            raise OutputError(
                f"the store of {address} cannot tell whether somebody has changed it meanwhile: it "
                "is not replaced"
            ) from None
        if not isinstance(replaces, Entry) or not is_refused(error, replaces):
            raise
        raise OutputError(
            f"somebody has changed or deleted {address} meanwhile: it is not replaced"
        ) from None


def _codes(error: Exception) -> tuple[object, object]:
    """The status of HTTP, as libraries tell of it."""
    # s3fs tells of it in the words of another error.
    response = getattr(error.__cause__, "response", None)
    said = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return getattr(error, "status_code", None), said.get("HTTPStatusCode")


def _with(fs: Any, name: str, method: Callable[..., Any]) -> Any:
    """The same connection, with another method for what its library asks the store."""
    other = object.__new__(type(fs))
    other.__dict__.update(fs.__dict__)
    setattr(other, name, method)
    return other


async def _ask_s3(
    ask: Callable[..., Any], tag: str, method: str, *args: Any, **options: Any
) -> Any:
    condition = {"IfMatch": tag} if method in _COMPLETING else {}
    return await ask(method, *args, **options, **condition)


async def _ask_google(
    ask: Callable[..., Any], tag: str, method: str, path: str, *args: Any, **options: Any
) -> Any:
    if method == "DELETE":  # Of an upload that is given up.
        path = _CONDITION.sub("", path)
    condition = {"ifGenerationMatch": tag} if method == "POST" else {}
    return await ask(method, path, *args, **options, **condition)
