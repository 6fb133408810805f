"""The log of a service: text or JSON lines, with nothing secret in it."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable
from typing import Any, Final, Literal, TextIO

from faceblur.redaction import HIDDEN, RedactingFilter, redact

LogFormat = Literal["text", "json"]

_SHORTEST: Final = 4
"""Shorter secrets would be found in every other word."""


class SecretFilter(RedactingFilter):
    """Also hides the very texts that are known to be secret, wherever they turn up."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets: tuple[str, ...] = ()
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """Hide these from now on, and those before too."""
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        # The longest first: one may hold another.
        self._secrets = tuple(sorted(known | set(self._secrets), key=len, reverse=True))

    def scrub(self, text: str) -> str:
        """A text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return redact(text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record; none is dropped."""
        super().filter(record)
        record.msg = self.scrub(str(record.msg))
        if record.exc_text:
            record.exc_text = self.scrub(record.exc_text)
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, thread, message and, if any, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as one line of JSON."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_text:
            entry["traceback"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False)


def set_up_logs(*, format_: LogFormat, level: int, stream: TextIO | None = None) -> SecretFilter:
    """Send all logs to a stream, stderr when None.

    The filter that is returned guards it; tell it the secrets.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if format_ == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")
    )
    guard = SecretFilter()
    handler.addFilter(guard)
    # Libraries too: nothing of this process is written past the filter.
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.WARNING))
    package = logging.getLogger("faceblur")
    package.handlers = []
    package.setLevel(level)
    return guard
