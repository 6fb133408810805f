"""`perf/run outputs`: do the cases, write down what came out, and set it beside another run."""

from __future__ import annotations

import glob
import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.outputs.cases import Case, cases
from benchmarks.outputs.facts import file_facts, plain
from benchmarks.outputs.inputs import make_inputs
from faceblur.files import file_sha256
from harness import command_line, machine_card

ROOT: Final = Path(__file__).resolve().parents[3]
PACKAGES: Final = ("av", "click", "numpy", "onnxruntime", "opencv-python", "pillow")
LIMIT_S: Final = 120.0
SHOWN: Final = 100


@click.command()
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An earlier run: name every difference, and exit with 1 if there is one.",
)
@click.option(
    "--checkout",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=ROOT,
    help="Whose code to run.  [default: this one]",
)
@click.option("--only", default="", help="Cases whose name holds this text.")
@click.option("--jobs", default=2, show_default=True, help="Cases at the same time.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("outputs.json"),
    show_default=True,
)
def outputs(*, against: Path | None, checkout: Path, only: str, jobs: int, output: Path) -> None:
    """Mask inputs of every kind with every option, and record all that comes out.

    Pixels of images, decoded frames and streams of videos, JSON, exit codes and sentences, without
    what passes (times, folders). Two runs of one commit give the same file; a change of the code
    that is to change nothing has to, too.
    """
    before = None if against is None else json.loads(against.read_text())
    chosen = [case for case in cases() if only in case.name]
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        inputs = folder / "inputs"
        make_inputs(inputs, ROOT / "docs" / "images" / "before.jpg")
        hashes = {file_sha256(path): f"<{path.name}>" for path in sorted(inputs.iterdir())}
        with ThreadPoolExecutor(jobs) as pool:
            done = pool.map(lambda case: _run(case, inputs, folder, checkout, hashes), chosen)
            found = dict(zip((case.name for case in chosen), done, strict=True))
    versions = {package: importlib.metadata.version(package) for package in PACKAGES}
    card = machine_card() | versions
    document = {"command": command_line(sys.argv), "card": card, "cases": found}
    output.write_text(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    click.echo(f"{len(found)} cases in {time.monotonic() - started_s:.0f} s: {output}")
    if before is not None:
        _compare(before, document, everything=not only)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Where two runs differ, a line each: the place, what was there, and what is.

    Args:
        before: `cases` of one run.
        after: `cases` of the other.
    """
    old, new = dict(_flat(before)), dict(_flat(after))
    places = sorted(old.keys() | new.keys())
    nothing = "nothing"
    return [
        f"{place}: {old.get(place, nothing)!s} -> {new.get(place, nothing)!s}"
        for place in places
        if old.get(place, nothing) != new.get(place, nothing)
    ]


def _compare(before: dict[str, Any], after: dict[str, Any], *, everything: bool) -> None:
    for name in (*PACKAGES, "processor", "python"):
        if before["card"].get(name) != after["card"].get(name):
            click.echo(f"{name}: {before['card'].get(name)} then, {after['card'].get(name)} now")
    old = before["cases"]
    if not everything:
        old = {name: case for name, case in old.items() if name in after["cases"]}
    found = differences(old, after["cases"])
    for line in found[:SHOWN]:
        click.echo(line if len(line) < 400 else line[:400] + " …")
    if len(found) > SHOWN:
        click.echo(f"… and {len(found) - SHOWN} more")
    if found:
        raise click.ClickException(f"{len(found)} differences")
    click.echo("no difference")


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _flat(each, f"{place} / {key}" if place else key)
    elif isinstance(value, list) and value:
        yield f"{place} / length", len(value)
        for number, each in enumerate(value):
            yield from _flat(each, f"{place} / {number}")
    else:
        yield place, value


def _run(
    case: Case, inputs: Path, folder: Path, checkout: Path, hashes: Mapping[str, str]
) -> dict[str, Any]:
    own = folder / hashlib.sha256(case.name.encode()).hexdigest()[:12]
    own.mkdir()
    given = _lay_out(case, inputs, own)
    scratch = own / "tmp"
    scratch.mkdir()
    # The longer first: one lies in the other.
    names = {str(scratch): "<tmp>", str(own): "<here>", str(checkout.resolve()): "<checkout>"}
    steps = [_step(step, own, scratch, checkout, {**names, **hashes}) for step in case.steps]
    left = sorted(str(path.relative_to(own)) for path in scratch.rglob("*") if path.is_file())
    shutil.rmtree(scratch)
    files = {
        str(path.relative_to(own)): file_facts(path, {**names, **hashes})
        for path in sorted(own.rglob("*"))
        if path.is_file() and path not in given
    }
    changed = [path.name for path, sha256 in given.items() if file_sha256(path) != sha256]
    shutil.rmtree(own)
    return {"steps": steps, "files": files, "originals changed": changed, "left behind": left}


def _lay_out(case: Case, inputs: Path, own: Path) -> dict[Path, str]:
    given = {}
    for entry in case.inputs:
        where, _, name = entry.rpartition("/")
        (own / where).mkdir(parents=True, exist_ok=True)
        for found in sorted(inputs.glob(name)):
            target = own / where / found.name
            shutil.copy(found, target)
            given[target] = file_sha256(target)
    return given


def _step(
    step: tuple[str, ...], own: Path, scratch: Path, checkout: Path, names: Mapping[str, str]
) -> dict[str, Any]:
    program = [sys.executable] if step[0] == "python" else [sys.executable, "-m", "faceblur"]
    words = list(_words(step[1:] if step[0] == "python" else step, own))
    paths = os.pathsep.join(
        str(checkout.resolve() / part) for part in ("client", "export", "training")
    )
    kept = {
        key: os.environ[key] for key in ("PATH", "HOME", "LD_LIBRARY_PATH") if key in os.environ
    }
    environment = kept | {
        "PYTHONPATH": paths, "TMPDIR": str(scratch),
        "LANG": "C.UTF-8", "COLUMNS": "100", "TZ": "UTC",
    }  # fmt: skip
    try:
        done = subprocess.run(
            [*program, *words], cwd=own, env=environment, capture_output=True, check=False,
            stdin=subprocess.DEVNULL, timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"exit": f"none within {LIMIT_S:.0f} s"}
    return {
        "exit": done.returncode,
        "stdout": plain(done.stdout.decode(errors="replace"), names),
        "stderr": plain(done.stderr.decode(errors="replace"), names),
    }


def _words(step: tuple[str, ...], own: Path) -> Iterator[str]:
    """A zone is written with slashes in the list of cases, patterns are the shell's."""
    for before, word in zip(("", *step), step, strict=False):
        if before in ("--always", "--never"):
            yield word.replace("/", " ")
        elif "*" in word and (found := sorted(glob.glob(word, root_dir=own))):  # noqa: PTH207
            yield from found
        else:
            yield word
