"""Every error faceblur raises on purpose, under one base.

    FaceblurError
    ├── InputError               a file, an option or a frame that cannot be used
    ├── OutputError              a result that cannot be written
    ├── ModelError               weights, a checkpoint or an ONNX file that cannot be used
    └── ServerError              frames could not be checked
        ├── ServerStartError         the embedded server did not come up
        ├── ServerUnavailableError   nothing answers at the address
        ├── DeadlineError            the answer did not come in time
        ├── ReplyError               the answer is not one that can be trusted
        └── CanaryError              a picture with a known face came back without it

The message of each is one sentence for a person, and says what to do next.
"""

from __future__ import annotations


class FaceblurError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_code: What the command line exits with when this error ends it.
    """

    exit_code = 1


class InputError(FaceblurError):
    """A file, an option or a frame cannot be used."""

    exit_code = 3


class OutputError(FaceblurError):
    """A result cannot be written."""

    exit_code = 4


class ModelError(FaceblurError):
    """Weights, a checkpoint or an ONNX file cannot be used."""

    exit_code = 5


class ServerError(FaceblurError):
    """Frames could not be checked for faces."""

    exit_code = 6


class ServerStartError(ServerError):
    """The embedded server did not come up."""


class ServerUnavailableError(ServerError):
    """Nothing that can detect faces answers at the address."""


class DeadlineError(ServerError):
    """The answer did not come in time."""


class ReplyError(ServerError):
    """The answer is malformed, or is not the answer to this request."""


class CanaryError(ServerError):
    """The known picture came back without its known face."""
