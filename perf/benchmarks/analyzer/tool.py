"""Triton's own load generator, perf_analyzer: find it, run it, read what it measured."""

from __future__ import annotations

import csv
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from faceblur.errors import FaceblurError

PROGRAM: Final = "perf_analyzer"

WHEELS: Final = ("tritonclient==2.50.0", "nvidia-cuda-runtime-cu12")
"""The last tritonclient that carries the program for older systems, and what it is linked to.

The package `perf-analyzer` is an empty placeholder where the C library is older than its wheels.
"""

TIMEOUT_S: Final = 180.0

_WINDOW: Final = r"Pass \[\d+\] throughput: ([\d.]+)"
WINDOWS: Final = 3

Memory = Literal["none", "system", "cuda"]


class AnalyzerError(FaceblurError):
    """perf_analyzer is missing, or a measurement failed."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What perf_analyzer shall send.

    Attributes:
        address: host:port of the gRPC service.
        model: What to ask.
        data: JSON file of inputs.
        batch: Images in a request.
        memory: Where inputs and outputs lie: in the message, or in shared memory.
        concurrency: Requests under way at all times; 0 when `rate` says how many are sent.
        rate: Requests a second, evenly spaced; 0 when `concurrency` says it.
        window_ms: Length of one of the windows, of which there are three.
        output_bytes: Room for one output of one image in shared memory.
    """

    address: str
    model: str
    data: Path
    batch: int = 1
    memory: Memory = "none"
    concurrency: int = 0
    rate: float = 0.0
    window_ms: int = 1000
    output_bytes: int = 200_000


@dataclass(frozen=True)
class Reading:
    """What perf_analyzer measured.

    Attributes:
        frames_per_s: Inferences a second.
        p50_ms: Latency of a request, the median.
        p90_ms: Its 90th percentile.
        p95_ms: Its 95th percentile.
        p99_ms: Its 99th percentile.
        windows: Inferences a second in each of its windows: how far to trust the rest.
        columns: All columns of its CSV, as it names them; times in microseconds.
    """

    frames_per_s: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    windows: tuple[float, ...] = ()
    columns: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PerfAnalyzer:
    """An installed perf_analyzer.

    Attributes:
        program: The executable.
        libraries: Folders for the library path.
        origin: Where it comes from, in words.
    """

    program: Path
    libraries: tuple[Path, ...] = ()
    origin: str = "PATH"

    @classmethod
    def find(cls, cache: Path, *, may_fetch: bool = True) -> PerfAnalyzer:
        """Take the one on the PATH (NVIDIA's SDK image has one there), or fetch one.

        Args:
            cache: Folder that keeps what was fetched.
            may_fetch: Whether to; what was fetched before is taken anyway.

        Raises:
            AnalyzerError: There is none to be had; the message says what to do.
        """
        found = shutil.which(PROGRAM)
        tool = cls(Path(found)) if found else _fetched(cache, may_fetch=may_fetch)
        tool.version()
        return tool

    def version(self) -> str:
        """What it says of itself.

        Raises:
            AnalyzerError: It does not start.
        """
        done = self._run(["--version"], timeout_s=20)
        match = re.search(r"Version\s+(\S+)", done.stdout)
        if done.returncode and match is None:
            raise AnalyzerError(_why_not(done.stderr))
        number = match[1] if match and match[1] != "(commit" else ""
        return f"{number} from {self.origin}".strip()

    def measure(self, load: Load) -> Reading:
        """Put one load on a server.

        Raises:
            AnalyzerError: The server refused, or nothing was measured.
        """
        with tempfile.TemporaryDirectory(prefix="faceblur-analyzer-") as folder:
            report = Path(folder, "report.csv")
            try:
                done = self._run([*arguments(load), "-f", str(report)], timeout_s=TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise AnalyzerError(
                    f"{PROGRAM} did not finish {load.model} within {TIMEOUT_S:g} s; is the "
                    "server overloaded?"
                ) from error
            if not report.is_file():
                raise AnalyzerError(f"{PROGRAM} could not measure {load.model}: {_reason(done)}")
            return read_report(report.read_text(), log=done.stdout)

    def _run(self, words: Sequence[str], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ)
        paths = [*map(str, self.libraries), environment.get("LD_LIBRARY_PATH", "")]
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
        return subprocess.run(
            [str(self.program), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def arguments(load: Load) -> list[str]:
    """The options for a load."""
    words = ["-m", load.model, "-u", load.address, "-i", "grpc", "--async"]
    words += ["-b", str(load.batch), "--input-data", str(load.data)]
    if load.concurrency:
        words += ["--concurrency-range", str(load.concurrency)]
    else:
        words += ["--request-rate-range", f"{load.rate:g}"]
    if load.memory != "none":
        words += ["--shared-memory", load.memory]
        words += ["--output-shared-memory-size", str(load.output_bytes)]
    words += ["--measurement-interval", str(load.window_ms), "--max-trials", str(WINDOWS)]
    # Windows that differ end a measurement without a word of what was measured; we tell the reader.
    words += ["--stability-percentage", "999"]
    # No --profile-export-file: it writes every image that was sent as text, gigabytes of it.
    return [*words, "--verbose-csv", "-v"]


def read_report(text: str, *, log: str = "") -> Reading:
    """Read the CSV file that perf_analyzer writes.

    Args:
        text: Of the file.
        log: What it wrote meanwhile, for the windows.

    Raises:
        AnalyzerError: It holds no measurement.
    """
    rows = list(csv.DictReader(text.splitlines()))
    if len(rows) != 1:
        raise AnalyzerError(f"the report of {PROGRAM} holds {len(rows)} measurements, not one")
    columns = {key: float(value) for key, value in rows[0].items() if key and value}
    try:
        return Reading(
            frames_per_s=columns["Inferences/Second"],
            p50_ms=columns["p50 latency"] / 1e3,
            p90_ms=columns["p90 latency"] / 1e3,
            p95_ms=columns["p95 latency"] / 1e3,
            p99_ms=columns["p99 latency"] / 1e3,
            windows=tuple(float(rate) for rate in re.findall(_WINDOW, log)),
            columns=columns,
        )
    except KeyError as error:
        raise AnalyzerError(f"the report of {PROGRAM} lacks {error}") from error


def _fetched(cache: Path, *, may_fetch: bool) -> PerfAnalyzer:
    folder = cache / "perf_analyzer"
    program = folder / "bin" / PROGRAM
    if not program.is_file():
        if not may_fetch:
            raise AnalyzerError(f"{PROGRAM} is not on the PATH")
        _fetch(folder)
    return PerfAnalyzer(program, (folder / "lib",), WHEELS[0])


def _fetch(folder: Path) -> None:
    """Take the program and the library out of wheels, which are not installed."""
    with tempfile.TemporaryDirectory(prefix="faceblur-analyzer-") as wheels:
        machine = platform.machine()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--dest", wheels]
        for tag in ("manylinux1", "manylinux2014", "manylinux_2_17"):
            command += ["--platform", f"{tag}_{machine}"]
        done = subprocess.run(
            [*command, *WHEELS], capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            raise AnalyzerError(
                f"{PROGRAM} is not on the PATH and pip could not fetch it "
                f"({_last_line(done.stderr)}); run this in NVIDIA's Triton SDK image, or put one "
                "on the PATH"
            )
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                _take(archive, f"/{PROGRAM}", folder / "bin")
                _take(archive, "/libcudart.so.12", folder / "lib")
    if not (folder / "bin" / PROGRAM).is_file():
        raise AnalyzerError(
            f"{WHEELS[0]} carries no {PROGRAM} for this machine; run this in NVIDIA's Triton SDK "
            "image"
        )
    (folder / "bin" / PROGRAM).chmod(0o755)


def _take(archive: zipfile.ZipFile, ending: str, folder: Path) -> None:
    for member in archive.infolist():
        if member.filename.endswith(ending):
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = folder / f".{Path(ending).name}.{os.getpid()}"
            unfinished.write_bytes(archive.read(member))
            unfinished.replace(folder / Path(ending).name)


def _why_not(stderr: str) -> str:
    missing = re.search(r"(lib\S+?\.so\S*): cannot open", stderr)
    if missing and missing[1].startswith("libb64"):
        return f"{PROGRAM} needs {missing[1]}; install it (Debian and Ubuntu: libb64-0d)"
    if missing:
        return f"{PROGRAM} needs {missing[1]}; install it, or run this in NVIDIA's Triton SDK image"
    return f"{PROGRAM} does not start: {_last_line(stderr)}"


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines()
    telling = [line for line in lines if re.search(r"error|fail|invalid|unable", line, re.I)]
    return (telling or lines or ["it wrote nothing"])[-1].strip()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it gave no reason"
