"""Large files, which are sent in parts."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from faceblur.stores.connections import GOOGLE, S3

PART_BYTES: Final = 8 << 20
"""Of what is written in parts; larger where there would be too many of them."""

_PARTS_AT_ONCE: Final = 4
_MOST_PARTS: Final = 9_000


def is_in_parts(scheme: str, size: int) -> bool:
    """Whether a file goes to S3 in parts, which become one with the last request."""
    return scheme in S3 and size >= 2 * _part_bytes(size)


def part_options(scheme: str, size: int) -> dict[str, Any]:
    """How a library is told to send a file of so many bytes."""
    if scheme in S3:
        return {"chunksize": _part_bytes(size), "max_concurrency": _PARTS_AT_ONCE}
    if scheme in GOOGLE:
        return {"chunksize": -(-_part_bytes(size) // (1 << 18)) * (1 << 18)}
    return {}


def forget_parts(fs: Any, path: str) -> None:
    """Have S3 delete the parts of a file that was never completed."""
    bucket, _, key = path.partition("/")
    with suppress(Exception):  # Whoever may write need not be allowed to list; lifecycles do.
        found = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
        for upload in found.get("Uploads", ()):
            if upload["Key"] == key:
                fs.call_s3(
                    *("abort_multipart_upload",),
                    Bucket=bucket,
                    Key=key,
                    UploadId=upload["UploadId"],
                )


def _part_bytes(size: int) -> int:
    return max(PART_BYTES, size // _MOST_PARTS)
