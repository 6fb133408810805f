"""The benchmark of cameras in step counts what is refused and how late each answer comes."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from waiting import until

from benchmarks.cameras.in_step import Round, holds, in_step, measure, summarise, table

IMAGE = np.zeros((32, 32, 3), np.uint8)


class Server:
    """Answers after 5 ms; one request, counted from the warm-up, after 200 ms or never."""

    def __init__(self, *, late: int | None = None, refused: int | None = None) -> None:
        self.asked = 0
        self._late = late
        self._refused = refused

    def __call__(self, canvas: npt.NDArray[np.uint8]) -> Future[None]:
        self.asked += 1
        future: Future[None] = Future()
        if self.asked == self._refused:
            future.set_exception(TimeoutError())
        else:
            delay = 0.2 if self.asked == self._late else 0.005
            threading.Timer(delay, future.set_result, [None]).start()
        return future


@pytest.mark.parametrize(
    ("server", "good"),
    [(Server(), True), (Server(late=9), False), (Server(refused=9), False)],
    ids=["steady", "late", "refused"],
)
def test_a_late_or_refused_answer_is_counted(server: Server, good: bool) -> None:
    rows: list[Round] = []

    def is_in_time() -> bool:
        """As a steady server is, unless the machine makes a pause."""
        rows.append(measure("it", server, [IMAGE] * 4, fps=10, seconds=0.5))
        return rows[-1].p99_ms < 200

    if good:
        until(is_in_time, "a steady server is in time", seen=rows)
    else:
        is_in_time()
        assert not holds(rows[0])
    assert (rows[0].sent, server.asked) == (20, 24 * len(rows))
    assert rows[0].refused == (server._refused is not None)
    assert rows[0].p50_ms > 4


def test_requests_add_up_and_the_median_round_counts() -> None:
    rounds = [Round("it", 20, 0, 10.0, p99) for p99 in (20.0, 25.0, 900.0)]
    row = summarise(rounds)
    assert (row.sent, row.p99_ms, holds(row)) == (60, 25.0, True)
    assert "| it | 60 | 0 | 10.0 | 25.0 | yes |" in table([row])
    assert not holds(Round("it", 20, 0, 10.0, 31.0))


def test_a_source_that_is_no_image_is_named() -> None:
    result = CliRunner().invoke(in_step, [__file__])
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
