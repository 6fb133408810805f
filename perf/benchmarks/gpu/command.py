"""A GPU, from the pip packages alone: `perf/run gpu`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Final

import click
import numpy as np

from benchmarks.analyzer.bench import gpu_facts
from benchmarks.analyzer.frames import canvases, fitted, read_frames
from benchmarks.analyzer.tool import AnalyzerError, PerfAnalyzer
from benchmarks.gpu.bench import Bench, Generator, Scope
from benchmarks.gpu.devices import Device, cpu_device, find_devices
from benchmarks.gpu.load import OwnGenerator
from benchmarks.gpu.networks import Network, Precision, lay_out
from benchmarks.gpu.report import write_page
from benchmarks.gpu.results import Budget, Results, Step
from faceblur.detection.options import DEFAULT_SIZE
from faceblur.detection.repository import BUNDLED_MODEL, FAST_MODEL
from faceblur.errors import FaceblurError
from faceblur.files import cache_folder
from harness import command_line, machine_card

STRIDE: Final = 32
SHORT: Final = Scope(
    batches=(1, 2), concurrency=(2,), together=(), rates=(1.0,), window_ms=300, raw_s=0.0, trials=1
)
PRECISIONS: Final[tuple[Precision, ...]] = ("fp16", "fp32", "tf32")
PACKAGES: Final = ("onnxruntime-gpu", "onnxruntime", "nvidia-cudnn-cu13", "nvidia-pytriton",
                   "tritonclient", "numpy", "tensorrt-cu13-libs")  # fmt: skip


@click.command("gpu")
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=click.Choice(["cuda", "tensorrt", "cpu", "trial"]),
    help="What runs the network; trial is the GPU's code on the CPU.  [default: what is here]",
)
@click.option(
    "--network",
    "names",
    multiple=True,
    default=(FAST_MODEL, BUNDLED_MODEL, "s"),
    show_default=True,
    help="bundled, fast, a size of YOLOv5-face, or an FP32 ONNX file.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(PRECISIONS),
    default=PRECISIONS,
    show_default=True,
    help="What a GPU computes with; the first one is measured most.",
)
@click.option("--seconds", type=click.FloatRange(min=1), default=420.0, show_default=True)
@click.option("--instances", type=click.IntRange(2, 64), help="Of the network on a server.")
@click.option(
    "--generator",
    "choice",
    type=click.Choice(["auto", "perf_analyzer", "own"]),
    default="auto",
    show_default=True,
    help="What puts loads on the server; auto takes perf_analyzer where it is on the PATH.",
)
@click.option("--short", is_flag=True, help="A few loads for a blink: whether all works.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results/gpu"))
def gpu(
    *,
    sources: tuple[Path, ...],
    runtimes: tuple[str, ...],
    names: tuple[str, ...],
    precisions: tuple[Precision, ...],
    seconds: float,
    instances: int | None,
    choice: str,
    short: bool,
    output: Path,
) -> None:
    """Measure a GPU on frames of SOURCES (images and videos), without a network.

    Is it right (against the CPU), how fast is a network alone and behind Triton, how many cameras
    does one server hold. Writes OUTPUT.json after each step, OUTPUT.md and OUTPUT.png at the end.
    """
    budget = Budget(seconds)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="faceblur-gpu-") as name:
        folder = Path(name)
        try:
            devices = find_devices(runtimes, folder / "engines")
            frames = read_frames(sources, frames=64)
            results = Results(output.with_suffix(".json"), command_line(sys.argv), _card(devices))
            images = canvases(frames, size=DEFAULT_SIZE, stride=STRIDE)[:24]
            others = fitted(frames, size=DEFAULT_SIZE, stride=STRIDE)
            generator = _generator(choice, folder, images)
            results.card |= {"load generator": generator.version()}
            scope = SHORT if short else Scope()
            bench = Bench(results, generator, scope, images, others, folder)
            plan = _Plan(bench, devices, folder, precisions, instances, short=short)
            try:
                _carry_out(plan.steps(names), budget, results)
            finally:
                write_page(results)
        except FaceblurError as error:
            raise click.ClickException(str(error)) from error
    click.echo(output.with_suffix(".md").read_text())
    _refuse_what_is_wrong(results)


def _carry_out(steps: Iterator[Step], budget: Budget, results: Results) -> None:
    start = time.monotonic()
    for step in steps:
        if budget.left() < step.needs_s:
            results.notes.append(f"{step.name}: left out, the time was over.")
            continue
        click.echo(f"{time.monotonic() - start:.0f} s: {step.name}", err=True)
        begin = time.monotonic()
        try:
            step.work()
        except Exception as error:  # noqa: BLE001  ONNX Runtime's share no base; the next may work
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            results.notes.append(f"{step.name}: failed: {reason}.")
            click.echo(f"failed: {reason}", err=True)
        results.seconds[step.name] = round(time.monotonic() - begin, 1)
        results.write()


def _refuse_what_is_wrong(results: Results) -> None:
    wrong = [f"{a.network} {a.precision} {a.runtime}" for a in results.agreements if not a.same]
    if wrong:
        raise click.ClickException(f"other faces than the CPU's are found by: {'; '.join(wrong)}")
    if not results.points:
        raise click.ClickException(f"nothing was measured: {' '.join(results.notes)}")


class _Plan:
    """The steps of a run, what matters most first."""

    def __init__(
        self, bench: Bench, devices: Sequence[Device], folder: Path,
        precisions: Sequence[Precision], instances: int | None, *, short: bool,
    ) -> None:  # fmt: skip
        self._bench = bench
        self._devices = devices
        self._folder = folder
        self._precisions = precisions
        self._instances = instances
        self._short = short
        self._laid_out: dict[str, dict[Precision, Network]] = {}

    def steps(self, names: Sequence[str]) -> Iterator[Step]:
        """All of them."""
        for device in self._devices:
            precisions = self._precisions[: 2 if self._short else 3]
            if device.runtime == "cpu":
                precisions = ("fp32",)
            for name in names:
                if device.runtime != "cpu":
                    yield self._judging(device, name, precisions)
            yield self._serving(device, names[0], precisions[0])
            for name in names[1:]:
                yield self._serving(device, name, precisions[0], few=True)
            if len(precisions) > 1 and not self._short:
                yield self._serving(device, names[0], precisions[1], few=True)
            for name in names:
                for precision in precisions if name == names[0] else precisions[:2]:
                    yield self._alone(device, name, precision)
        if self._devices[0].runtime in ("cuda", "tensorrt"):
            yield self._serving(cpu_device(), names[0], "fp32", few=True)
            yield self._alone(cpu_device(), names[0], "fp32")
            for name in names:
                yield self._in_pytorch(name)
            for count in (4, 16):
                yield self._serving(
                    self._devices[0], names[0], self._precisions[0], instances=count, few=True
                )

    def _network(self, name: str, precision: Precision) -> Network:
        if name not in self._laid_out:
            made = self._laid_out[name] = lay_out(name, PRECISIONS, self._folder)
            single = made["fp32"]
            text = f"{single.variant}, {single.weights} weights, sha256 {single.info.sha256[:12]}"
            self._bench.results.card |= {single.name: text}
        return self._laid_out[name][precision]

    def _judging(self, device: Device, name: str, precisions: Sequence[Precision]) -> Step:
        def work() -> None:
            single = self._network(name, "fp32")
            # Random weights find nothing.
            if single.weights != "random":
                networks = [self._network(name, precision) for precision in precisions]
                self._bench.judge(device, single, networks)

        return Step(f"{device.name} against the CPU, {name}", 8 if self._short else 15, work)

    def _alone(self, device: Device, name: str, precision: Precision) -> Step:
        return Step(
            f"{device.name} without a server, {name} {precision}",
            1 if self._short else 8,
            lambda: self._bench.run_alone(device, self._network(name, precision)),
        )

    def _in_pytorch(self, name: str) -> Step:
        def work() -> None:
            self._bench.run_in_pytorch(self._network(name, "fp16"))

        return Step(f"PyTorch, {name} fp16", 6, work)

    def _serving(
        self,
        device: Device,
        name: str,
        precision: Precision,
        *,
        instances: int | None = None,
        few: bool = False,
    ) -> Step:
        count = instances or self._instances or device.instances()
        scope = self._bench.scope
        fewer = replace(scope, concurrency=scope.concurrency[::3], together=(), rates=(30.0,))

        def work() -> None:
            network = self._network(name, precision)
            self._bench.serve(device, network, instances=count, scope=fewer if few else scope)

        title = f"{device.name} behind Triton, {name} {precision}, {count} instances"
        return Step(title, 5 if self._short else 25 if few else 45, work)


def _generator(choice: str, folder: Path, images: Sequence[np.ndarray]) -> Generator:
    if choice != "own":
        try:
            return PerfAnalyzer.find(cache_folder(), may_fetch=choice == "perf_analyzer")
        except AnalyzerError:
            if choice == "perf_analyzer":
                raise
    path = folder / "canvases.npy"
    np.save(path, np.stack(images))
    return OwnGenerator(path)


def _card(devices: Sequence[Device]) -> dict[str, object]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    facts = {"gpu": gpu_facts()} if any(d.runtime in ("cuda", "tensorrt") for d in devices) else {}
    return machine_card() | facts | {"runtimes": ", ".join(d.name for d in devices)} | versions
