"""The progress bar, on a terminal that keeps what is written."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from faceblur.cli import progress
from faceblur.cli.progress import ProgressLine
from faceblur.cli.table import table


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    shown = _Terminal()
    # The real one is pytest's, which sets it again before the test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=shown))
    return shown


def test_items_are_passed_on_and_the_bar_ends_with_its_line(terminal: _Terminal) -> None:
    line = ProgressLine("images")
    for _ in range(2):
        assert list(line.items("abcd")) == ["a", "b", "c", "d"]
    written = terminal.getvalue()
    assert "images" in written
    assert "75%" in written
    assert written.count("\n") == 2


def test_a_share_moves_the_bar(terminal: _Terminal) -> None:
    with ProgressLine("calibrating") as line:
        line.share(0.25)
        line.share(0.5)
    assert "25%" in terminal.getvalue()
    assert "50%" in terminal.getvalue()


def test_where_nobody_knows_the_whole_the_bar_only_moves(terminal: _Terminal) -> None:
    with ProgressLine("fetching") as line:
        for _ in range(3):
            line.share(None)
    with ProgressLine() as line:
        for done in range(3):
            line.update("clip.mkv", done=done, total=None)
    assert "fetching" in terminal.getvalue()
    assert "clip.mkv" in terminal.getvalue()
    assert "%" not in terminal.getvalue()


def test_nothing_is_shown_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    kept = io.StringIO()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=kept))
    assert list(ProgressLine("images").items("ab")) == ["a", "b"]
    assert kept.getvalue() == ""


def test_words_stand_on_the_left_of_a_table_and_numbers_on_the_right() -> None:
    lines = table(("file", "faces"), [("a.jpg", "3"), ("b", "12")], left={"file"})
    assert list(lines) == ["file   faces", "a.jpg      3", "b         12"]
