"""What the code of the command warns of while it masks one file, so that the page can say it."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import Final

_LOGGER: Final = logging.getLogger("faceblur")


class Remarks(logging.Handler):
    """Collects the warnings that name a file; a context manager.

    Args:
        source: The file, which others than it have not in their names.

    Attributes:
        sentences: What was warned of, each once, without the name where it only stands before.
    """

    def __init__(self, source: Path) -> None:
        super().__init__(logging.WARNING)
        self._source = str(source)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a warning, from whichever thread."""
        text = record.getMessage()
        sentence = text.removeprefix(f"{self._source}: ")
        if self._source in text and sentence not in self.sentences:
            self.sentences.append(sentence)

    def __enter__(self) -> Remarks:
        _LOGGER.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _LOGGER.removeHandler(self)
