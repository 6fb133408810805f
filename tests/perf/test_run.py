"""`perf/run` as a person types it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

RUN = Path(__file__).parents[2] / "perf" / "run"


def run(*words: str) -> Result:
    return CliRunner().invoke(runpy.run_path(str(RUN))["main"], words)


def test_every_benchmark_is_where_the_table_says() -> None:
    names = runpy.run_path(str(RUN))["BENCHMARKS"]
    assert len(names) >= 18
    for name in names:
        shown = run(name, "--help")
        assert shown.exit_code == 0, (name, shown.output)
        assert shown.output.startswith(f"Usage: main {name} ")


def test_a_benchmark_that_lacks_a_package_blocks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks.cameras.soak", None)
    lost = run("soak", "--help")
    assert lost.exit_code == 1
    assert lost.stderr == "Error: benchmarks.cameras.soak is not installed\n"
    assert "soak" in run("--help").output
    assert run("tiles", "--help").exit_code == 0
    assert "No such command" in run("speed").stderr
