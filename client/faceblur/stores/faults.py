"""Errors of the libraries of stores, as one sentence each; and whether it helps to try again.

What a library says is never passed on: it may hold signatures and keys.
"""

from __future__ import annotations

import errno
import logging
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from faceblur.errors import FaceblurError, InputError, OutputError, install_line
from faceblur.stores.address import AZURE, WEB, Address

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
Use = Literal["read", "write"]

ATTEMPTS: Final = 8
"""For about 15 seconds."""

FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 5.0


class UnreachableError(InputError):
    """A store could not be read for now."""


class UnwritableError(OutputError):
    """A store could not be written to for now."""


def is_lasting(error: FaceblurError) -> bool:
    """Whether a file is what is wrong, so that another try at it as it is ends in the same way."""
    return isinstance(error, InputError) and not isinstance(error, UnreachableError)


_LOGINS: Final = {
    "s3": "log in with aws configure or aws sso login, or set AWS_PROFILE",
    "gs": "log in with gcloud auth application-default login",
    "az": "log in with az login and set AZURE_STORAGE_ACCOUNT_NAME, or set "
    "AZURE_STORAGE_CONNECTION_STRING",
}

_NO_LOGIN: Final = frozenset(
    {
        *("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "SSOError"),
        *("ProfileNotFound", "CredentialRetrievalError", "UnauthorizedSSOTokenError"),
        *("CredentialUnavailableError", "GoogleAuthError", "DefaultCredentialsError"),
    }
)
_DENIED: Final = frozenset(
    {*("PermissionError", "ClientAuthenticationError", "AuthenticationException")}
)
_PASSING: Final = frozenset(
    {
        *(
            "ClientError",
            "HTTPClientError",
            "ServiceRequestError",
            "ServiceResponseError",
            "HttpError",
        ),
        *("TimeoutError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError"),
        *("EOFError", "ChecksumError", "SSLError", "FlexibleChecksumError"),
    }
)
"""Names of exceptions of aiohttp, botocore, azure-core, gcsfs and Python: no imports for them."""

_SLOW_DOWN: Final = (429, 503)
_LOST: Final = frozenset(
    {
        *(
            errno.EBUSY,
            errno.EIO,
            errno.EPIPE,
            errno.ETIMEDOUT,
            errno.ECONNRESET,
            errno.ECONNREFUSED,
        ),
        *(errno.EAGAIN, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ECONNABORTED),
    }
)


_FULL: Final = {
    errno.ENOSPC: "the disk is full: free some space, or set TMPDIR to another one",
    errno.EDQUOT: "the disk quota is used up: free some space, or set TMPDIR to another disk",
    errno.ENAMETOOLONG: "the name is too long for a file",
}


class ChangedError(Exception):
    """A file was replaced while it was read, or came short."""


@dataclass(frozen=True)
class Fault:
    """What went wrong with an address.

    Attributes:
        passes: Whether another try may succeed.
    """

    error: FaceblurError
    passes: bool = False


def fault_of(error: Exception, address: Address, use: Use) -> Fault:
    """Say in one sentence what an exception of a library means."""
    error = behind(error, address)
    names = {cls.__name__ for cls in type(error).__mro__}
    status = _status(error)
    if isinstance(error, FaceblurError):
        return Fault(error)
    if isinstance(error, ImportError):
        return Fault(
            InputError(
                f"{address.scheme}:// needs a library that is not installed; first run: "
                f"{install_line('cloud')}"
            )
        )
    if isinstance(error, FileNotFoundError) or status == 404:
        return Fault(_gone(address, use))
    if isinstance(error, FileExistsError) and use == "write":
        return Fault(OutputError(f"there is a file {address} already, which is not replaced"))
    if _lacks_login(error, names, address):
        return Fault(_kind(use)(f"there are no credentials for {address}: {_login(address)}"))
    if not names.isdisjoint(_DENIED) or status in (401, 403) or _is_forbidden(error):
        verb = "reading" if use == "read" else "writing to"
        return Fault(
            _kind(use)(
                f"{verb} {address} is denied: check who you are logged in as, and what they may do"
            )
        )
    if any("CertificateError" in name or "CertVerificationError" in name for name in names):
        return Fault(_kind(use)(f"nobody vouches for the certificate of {address}: check the name"))
    if isinstance(error, ChangedError):
        return Fault(
            UnreachableError(f"{address} {error}; mask it again when it is complete"), True
        )
    if status in _SLOW_DOWN or getattr(error, "errno", None) == errno.EBUSY:
        text = f"the store of {address} asks to slow down, and went on so: wait, or lower --workers"
        return Fault(_passing(use)(text), True)
    if isinstance(error, OSError) and error.errno in _FULL:
        # The copy on this machine, not the store.
        return Fault(OutputError(f"cannot keep a copy of {address} here: {_FULL[error.errno]}"))
    lost = getattr(error, "errno", None) in _LOST or not names.isdisjoint(_PASSING)
    if lost if status is None else (status >= 500 or status == 408):
        text = f"the store of {address} does not answer as it should"
        return Fault(_passing(use)(f"{text}: check the address and the network"), True)
    return Fault(_kind(use)(f"cannot {use} {address}: {_told(error)}"))


def behind(error: Exception, address: Address) -> Exception:
    """The true exception: of https, fsspec calls everything a file that is not there."""
    cause = error.__cause__
    if address.scheme in WEB and isinstance(error, FileNotFoundError):
        return cause if isinstance(cause, Exception) else error
    return error


def _kind(use: Use) -> type[FaceblurError]:
    return InputError if use == "read" else OutputError


def _passing(use: Use) -> type[FaceblurError]:
    return UnreachableError if use == "read" else UnwritableError


def _gone(address: Address, use: Use) -> FaceblurError:
    if use == "read":
        return InputError(f"{address} does not exist; check the name")
    return OutputError(f"cannot write {address}: {_place(address)} does not exist; make it first")


def _place(address: Address) -> str:
    return "the container" if address.scheme in AZURE else "the bucket or folder"


def _login(address: Address) -> str:
    scheme = {"gcs": "gs", "s3a": "s3", **dict.fromkeys(AZURE, "az")}.get(address.scheme)
    return _LOGINS.get(scheme or address.scheme, "give them as the fsspec library of it takes them")


def _lacks_login(error: Exception, names: set[str], address: Address) -> bool:
    if not names.isdisjoint(_NO_LOGIN):
        return True
    if address.scheme in AZURE:
        # No account at all; or no way to log in worked, so that nothing was asked of the store.
        return isinstance(error, ValueError) or (
            "ClientAuthenticationError" in names and _status(error) is None
        )
    return False


def _is_forbidden(error: Exception) -> bool:
    """Whether gcsfs was refused, of which it says nothing but this word."""
    return type(error) is OSError and str(error).startswith("Forbidden")


def _status(error: Exception) -> int | None:
    """The status of HTTP, wherever a library has put it."""
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    return None


def _told(error: Exception) -> str:
    """What can be said of an exception that nobody expected, with nothing of its text."""
    status, number = _status(error), getattr(error, "errno", None)
    reason = f"HTTP {status}" if status else os.strerror(number) if number else ""
    return f"{type(error).__name__}{f', {reason}' if reason else ''}"


def persistently(
    work: Callable[[], Result],
    address: Address,
    use: Use,
    *,
    attempts: int = ATTEMPTS,
    pause: Callable[[float], None],
) -> Result:
    """Do something with a store, several times if need be.

    Args:
        work: What to do; it can be begun again at any time.
        address: What it is done with.
        use: Whether that reads or writes.
        attempts: How often, at most.
        pause: Waits so many seconds; what it raises is passed on.

    Raises:
        FaceblurError: It did not succeed.
    """
    for attempt in range(1, attempts + 1):
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - libraries raise what they like
            fault = fault_of(error, address, use)
            logger.debug("%s, attempt %d: %s", address, attempt, _told(error))
            if not fault.passes or attempt == attempts:
                raise fault.error from None
            # Not all at the same moment, where many wait for one store.
            longest = min(FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
            pause(longest * random.uniform(0.5, 1))
    raise AssertionError("unreachable")
