"""A table of text, for a person to read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[str]
) -> Iterator[str]:
    """The lines of a table, its columns two spaces apart; those titled `left` are words."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = zip(titles, row, widths, strict=True)
        line = (c.ljust(width) if title in left else c.rjust(width) for title, c, width in cells)
        yield "  ".join(line).rstrip()
