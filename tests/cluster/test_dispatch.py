"""Which file is given to whom, and what becomes of it when something ends; Ray is played."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faceblur.batch.jobs import AnyJob, Job, StoredJob
from faceblur.batch.outcome import RunOptions
from faceblur.cli.spreading import swept
from faceblur.cli.standing import standing_text
from faceblur.cluster import pool
from faceblur.cluster.connection import ClusterError
from faceblur.cluster.options import ClusterOptions, Share, shares_of
from faceblur.cluster.run import Standing, run
from faceblur.cluster.worker import Failure, FileResult, WorkerFacts, WorkerSetup
from faceblur.detection.detector import ModelInfo
from faceblur.detection.session import SessionOptions
from faceblur.errors import OutputError
from faceblur.stores.address import parse_address

DONE = FileResult(elapsed_s=1.0, faces=1, frames=1)


class DiedError(Exception):
    """What Ray raises where a worker has ended."""


@dataclass
class Actor:
    """A worker that answers when it is asked; what it answers is said by the test."""

    world: World
    node: str
    number: int
    dead: bool = False
    open_now: int = 0

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *given: self.world.call(self, name, given))


@dataclass
class World:
    """As much of Ray as the dispatch uses.

    Attributes:
        answer: What masking a file gives: a result, or None where the worker ends of it.
        opened: What a worker says when it comes up.
    """

    answer: Callable[[Actor, str], FileResult | None]
    opened: Callable[[Actor], Any] = lambda actor: WorkerFacts(actor.number, 2, "a detector")
    nodes_now: dict[str, dict[str, float]] = field(
        default_factory=lambda: {"one": {"CPU": 4.0}, "two": {"CPU": 4.0}}
    )
    begun: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self._numbers = itertools.count()
        self._values: dict[int, Callable[[], Any]] = {}
        self._alive: dict[int, Actor] = {}
        self.exceptions = SimpleNamespace(RayError=DiedError)
        self.util = SimpleNamespace(
            scheduling_strategies=SimpleNamespace(
                NodeAffinitySchedulingStrategy=lambda node_id, soft: node_id
            )
        )

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": name, "Alive": True, "Resources": has, "NodeManagerAddress": f"at {name}"}
            for name, has in self.nodes_now.items()
        ]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, _: type) -> Any:
        def options(scheduling_strategy: str, **_: Any) -> Any:
            make = lambda: Actor(self, scheduling_strategy, next(self._numbers))  # noqa: E731
            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=options)

    def call(self, actor: Actor, name: str, given: tuple[Any, ...]) -> int:
        ref = next(self._numbers)
        self.asked.append((name, given))
        if name == "attempt":
            source = given[0].source.name
            self.begun.append((source, actor.node))
            actor.open_now += 1
            self.most_at_once = max(self.most_at_once, actor.open_now)
            self._values[ref] = lambda: self._mask(actor, source)
        else:
            said = {"open": lambda: self.opened(actor), "shares": lambda: 0.5}
            self._values[ref] = said.get(name, lambda: None)
        return ref

    def _mask(self, actor: Actor, source: str) -> FileResult:
        actor.open_now -= 1
        result = None if actor.dead else self.answer(actor, source)
        if result is None:
            actor.dead = True
            raise DiedError
        return result

    def wait(
        self, refs: list[int], num_returns: int, timeout: float
    ) -> tuple[list[int], list[int]]:
        return refs[:1] if num_returns == 1 else refs[:num_returns], []

    def get(self, ref: int) -> Any:
        return self._values.pop(ref)()

    def kill(self, actor: Actor) -> None:
        actor.dead = True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for machines at every step."""
    monkeypatch.setattr(pool, "LOOK_S", 0.0)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Ten files, each larger than the one before."""
    found = []
    for number in range(10):
        source = tmp_path / f"{number}.jpg"
        source.write_bytes(b"x" * (1 + number))
        found.append(Job(source, tmp_path / "out" / source.name, "image"))
    return found


def masked(
    world: World, jobs: list[Job], options: ClusterOptions, *, reports: bool = False
) -> dict[str, FileResult]:
    setup = WorkerSetup(
        options=RunOptions(), session=SessionOptions(), size=640, media="image", reports=reports
    )
    return {job.source.name: result for job, result in run(world, jobs, setup, options)}


ON = ClusterOptions(address="ray")


def test_the_largest_come_first_and_no_worker_has_more_than_it_can_do(jobs: list[Job]) -> None:
    world = World(lambda *_: DONE)
    results = masked(world, jobs, ON)
    assert all(result is DONE for result in results.values())
    assert len(results) == 10
    assert [name for name, _ in world.begun] == [f"{n}.jpg" for n in reversed(range(10))]
    assert {node for _, node in world.begun} == {"one", "two"}
    assert world.most_at_once == 2


def test_a_file_that_its_workers_die_of_is_named_after_three_and_costs_no_other(
    jobs: list[Job],
) -> None:
    world = World(lambda _, name: None if name == "9.jpg" else DONE)
    results = masked(world, jobs, ON)
    failure = results.pop("9.jpg").failure
    assert failure is not None
    assert "its worker on at" in failure.reason
    assert "ended while it was masked" in failure.reason
    assert all(result is DONE for result in results.values())
    nodes = [node for name, node in world.begun if name == "9.jpg"]
    assert len(nodes) == 3
    assert set(nodes[:2]) == {"one", "two"}
    # What was beside it the first time is tried again; afterwards it is masked alone.
    beside = [name for name, _ in world.begun if name != "9.jpg"]
    assert len(beside) <= 9 + 1


@pytest.mark.parametrize(
    ("failure", "attempts"),
    [
        (Failure("no image", is_certain=True), 2),
        (Failure("no room on the disk"), 3),
        (Failure("no answer in time", is_server=True), 3),
    ],
)
def test_what_fails_is_tried_on_the_other_machine(
    jobs: list[Job], failure: Failure, attempts: int
) -> None:
    bad = FileResult(elapsed_s=0.1, failure=failure)
    world = World(lambda _, name: bad if name == "4.jpg" else DONE)
    results = masked(world, jobs, ON)
    assert results.pop("4.jpg") is bad
    assert all(result is DONE for result in results.values())
    nodes = [node for name, node in world.begun if name == "4.jpg"]
    assert len(nodes) == attempts
    assert set(nodes[:2]) == {"one", "two"}


def test_a_worker_whose_detector_failed_is_replaced(jobs: list[Job]) -> None:
    blind = FileResult(elapsed_s=0.1, failure=Failure("blind", is_server=True))
    world = World(lambda actor, _: blind if actor.number < 2 else DONE)
    results = masked(world, jobs, ON)
    assert all(result is DONE for result in results.values())


def test_machines_come_and_go(jobs: list[Job]) -> None:
    world = World(lambda *_: DONE, nodes_now={"one": {"CPU": 4.0}})

    def answer(actor: Actor, name: str) -> FileResult | None:
        if name == "7.jpg" and actor.node == "one":
            world.nodes_now = {"three": {"CPU": 4.0}}
            return None
        return DONE

    world.answer = answer
    results = masked(world, jobs, ON)
    assert all(result is DONE for result in results.values())
    assert [node for name, node in world.begun if name == "7.jpg"] == ["one", "three"]


def test_where_no_worker_comes_up_every_file_says_why(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = Failure("it does not see /archive", is_certain=True, exit_code=3)
    world = World(lambda *_: DONE, opened=lambda _: lacking)
    assert {result.failure for result in masked(world, jobs, ON).values()} == {lacking}
    # One machine that lacks something is no reason to stop.
    world = World(lambda *_: DONE, opened=lambda a: lacking if a.node == "one" else FACTS)
    assert all(result is DONE for result in masked(world, jobs, ON).values())
    assert {node for _, node in world.begun} == {"two"}
    monkeypatch.setattr("faceblur.cluster.run._NO_WORKER_S", 0.0)
    monkeypatch.setattr("faceblur.cluster.run._POLL_S", 0.0)
    with pytest.raises(ClusterError, match="no machine of the cluster has CPUs"):
        masked(World(lambda *_: DONE, nodes_now={"head": {}}), jobs, ON)


def test_a_list_of_faces_is_made_by_workers_with_one_model(jobs: list[Job]) -> None:
    facts = {node: replace(FACTS, model=ModelInfo(node, node)) for node in ("one", "two")}
    for reports, nodes in ((True, {"one"}), (False, {"one", "two"})):
        world = World(lambda *_: DONE, opened=lambda actor: facts[actor.node])
        assert all(r is DONE for r in masked(world, jobs, ON, reports=reports).values())
        assert {node for _, node in world.begun} == nodes


def test_workers_of_one_machine_have_cores_of_their_own(jobs: list[Job]) -> None:
    world = World(lambda *_: DONE, nodes_now={"one": {"CPU": 5.0}})
    masked(world, jobs, ClusterOptions(address="ray", cpus_per_worker=2))
    cores = [given[2] for name, given in world.asked if name == "open"]
    assert [range(5)[each] for each in cores] == [range(2), range(2, 4)]
    masked(world, jobs, ON)
    assert [given[2] for name, given in world.asked if name == "open"][2:] == [None]


FACTS = WorkerFacts(1, 2, "a detector")


def test_workers_share_a_machine_by_its_cpus_or_its_gpus() -> None:
    assert shares_of(8, 0, ON) == [Share(8.0)]
    assert shares_of(8, 0, ClusterOptions(address="ray", cpus_per_worker=3)) == [Share(3.0)] * 2
    assert shares_of(0, 0, ON) == []
    assert shares_of(16, 2, ON) == [Share(8.0, 1.0)] * 2
    assert shares_of(16, 2, ClusterOptions(address="ray", workers_per_gpu=2)) == [
        Share(4.0, 0.5)
    ] * 4  # fmt: skip


def test_the_standing_says_how_fast_it_goes_and_what_is_left() -> None:
    standing = Standing(files=3, of_files=9, size=20e9, of_size=80_000_000_000, workers=4)
    assert standing_text(standing, 1800) == "20.0 of 80.0 GB, 4 workers, 40 GB/h, 1 h 30 min left"
    none = Standing(files=0, of_files=9, size=0, of_size=80_000_000_000, workers=1)
    assert standing_text(none, 0) == "0.0 of 80.0 GB, 1 worker"


def test_what_workers_leave_unfinished_is_removed_before_and_in_the_end(tmp_path: Path) -> None:
    source = parse_address("s3://bucket/in/a.png")
    assert source is not None
    tree, single = tmp_path / "out", tmp_path / "single"
    jobs: list[AnyJob] = [
        StoredJob(source, tree / "a.png", "image", tree=tree),
        Job(tmp_path / "b.png", single / "b.png", "image"),
    ]
    left = [tree / ".a.partial-01234567.png", single / ".b.partial-01234567.png"]
    for path in left:
        path.parent.mkdir()
        path.touch()
    with swept(jobs):
        assert not any(path.exists() for path in left)
        for path in left:
            path.touch()
        # Another would mask the same files again, and remove what these workers have begun.
        for job, place in zip(jobs, (tree, single / "b.png"), strict=True):
            with pytest.raises(OutputError, match=f"writes to {re.escape(str(place))}: wait"):
                swept([job]).__enter__()
        with swept([replace(jobs[1], output=single / "c.png")]):
            assert all(path.exists() for path in left)
    assert not any(path.exists() for path in left)
    with swept(jobs):
        pass
