"""Every error faceblur raises on purpose, under one base.

    FaceblurError
    ├── InputError               a file, an option or a frame that cannot be used; a ValueError
    ├── OutputError              a result that cannot be written
    ├── ModelError               weights, a checkpoint or an ONNX file that cannot be used
    └── ServerError              frames could not be checked
        ├── ServerStartError         the embedded server did not come up
        ├── ServerUnavailableError   nothing answers at the address
        ├── DeadlineError            the answer did not come in time
        ├── CrowdedError             there are more faces than fit into one answer
        ├── ReplyError               the answer is not one that can be trusted
        └── CanaryError              an image with a known face came back without it

The message of each is one sentence for a person, and says what to do next.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

_EXHAUSTED: Final = {
    errno.EMFILE: "too many files are open for the limit here: raise it with ulimit -n 1024",
    errno.ENFILE: "too many files are open on this machine: close some programs",
    errno.ENOSPC: "the disk is full: free some space, or write elsewhere",
    errno.ENOMEM: "there is not enough memory: close some programs, or raise ulimit -v",
    errno.EAGAIN: "no more processes are allowed here: raise the limit with ulimit -u",
}
_NO_THREAD: Final = "can't start new thread"


def exhaustion(error: BaseException) -> str | None:
    """What to say of an error that means that this machine has no more of something, else None."""
    if isinstance(error, MemoryError):
        return _EXHAUSTED[errno.ENOMEM]
    if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
        return "no more threads are allowed here: raise the limit with ulimit -u, or ulimit -v"
    if isinstance(error, OSError):
        return _EXHAUSTED.get(error.errno or 0)
    return None


class FaceblurError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_code: What the command line exits with when this error ends it.
        several_lines: Whether its message is a list, one line each, and no single sentence.

    Example:
        >>> try:
        ...     safe = faceblur.blur("missing.jpg")
        ... except faceblur.FaceblurError as error:
        ...     print(error.exit_code)
        3
    """

    exit_code = 1
    several_lines = False


class InputError(FaceblurError, ValueError):
    """A file, an option or a frame cannot be used.

    Example:
        >>> try:
        ...     faces = faceblur.detect(frame, threshold=2)
        ... except ValueError as error:
        ...     print(type(error).__name__)
        InputError
    """

    exit_code = 3


class OutputError(FaceblurError):
    """A result cannot be written.

    Example:
        >>> try:
        ...     report = faceblur.blur(frame, "no-folder/safe.png")
        ... except faceblur.OutputError as error:
        ...     print(error.exit_code)
        4
    """

    exit_code = 4


class ModelError(FaceblurError):
    """Weights, a checkpoint or an ONNX file cannot be used.

    Example:
        >>> try:
        ...     blur = faceblur.connect(model="missing.onnx")
        ... except faceblur.ModelError as error:
        ...     print(error.exit_code)
        5
    """

    exit_code = 5


class ServerError(FaceblurError):
    """Frames could not be checked for faces.

    Example:
        >>> try:
        ...     safe = faceblur.blur(frame)
        ... except faceblur.ServerError:
        ...     safe = None  # not checked: show nothing of it
    """

    exit_code = 6


class ServerStartError(ServerError):
    """The embedded server did not come up.

    Example:
        >>> try:
        ...     blur = faceblur.connect()
        ... except faceblur.ServerStartError:
        ...     blur = faceblur.connect("gpu-box:8001")
    """


class ServerUnavailableError(ServerError):
    """Nothing that can detect faces answers at the address.

    Example:
        >>> try:
        ...     blur = faceblur.connect("127.0.0.1:9")
        ... except faceblur.ServerUnavailableError:
        ...     blur = faceblur.connect()
    """


class DeadlineError(ServerError):
    """The answer did not come in time.

    Example:
        >>> try:
        ...     faces = faceblur.detect(frame)
        ... except faceblur.DeadlineError:
        ...     faces = faceblur.detect(frame, tiles="off")
    """


class CrowdedError(ServerError):
    """An image has more places that may be faces than one answer holds."""

    MARK = "places may be faces"
    """What the decoder says of it."""


class ReplyError(ServerError):
    """The answer is malformed, or is not the answer to this request.

    Example:
        >>> try:
        ...     faces = faceblur.detect(frame)
        ... except faceblur.ReplyError as error:
        ...     print("do not trust this server:", error)
    """


class CanaryError(ServerError):
    """The known image came back without its known face.

    Example:
        >>> try:
        ...     faces = faceblur.detect(frame)
        ... except faceblur.CanaryError as error:
        ...     print("it is blind:", error)
    """


def install_line(extra: str) -> str:
    """The command that adds an extra of this distribution, for the messages that ask for one.

    It names the checkout that runs: the distribution is on no package index, and what is called
    faceblur there is somebody else's. From a wheel it is a command for a checkout.
    """
    checkout = Path(__file__).resolve().parents[2]
    inside = not (checkout / "pyproject.toml").is_file() or checkout == Path.cwd()
    return f'pip install -e "{"." if inside else checkout}[{extra}]"'
