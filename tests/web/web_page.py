"""`faceblur web` as its users start it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image
from playwright.sync_api import Page
from probing import decoded
from waiting import until

from faceblur.batch.private_folder import PREFIX
from faceblur.cli import main


@dataclass(frozen=True)
class Served:
    """A page that is served.

    Attributes:
        address: With the token.
        base: Without.
        uploads: Where its private folder lies.
        gates: What it waits at.
    """

    process: subprocess.Popen[str]
    address: str
    base: str
    uploads: Path
    gates: Path

    @contextmanager
    def held(self, state: str) -> Iterator[None]:
        """Have files get no further than a frame into a state, masking or checking, meanwhile.

        They may be cancelled, as ever. With "answer", nobody is answered who sends a file or has
        one made again.
        """
        gate = self.gates / state
        gate.touch()
        try:
            yield
        finally:
            gate.unlink()

    def sweep(self) -> None:
        """Have it delete once what nobody needs any more; see `served_small`."""
        asked = self.gates / "sweep"
        asked.touch()
        until(lambda: not asked.exists(), "the server sweeps up")


FILES_SHOWN = "#cards li[data-state=done], #cards li[data-state=failed]"
"""Cards of files that have come to their end."""

_GATED = """
import asyncio, sys, time
from pathlib import Path
from faceblur.web.editing.edit_routes import _Editing
from faceblur.web.jobs.job import WebJob
from faceblur.web.submissions import _Submissions
gates = Path(sys.argv.pop(1))
tell = WebJob.tell
def tell_and_wait(job, done, total):
    tell(job, done, total)
    while done and (gates / job.state).exists():
        job.check_going()
        time.sleep(0.01)
def waiting(work):
    async def answer_when_let(self, request):
        answer = await work(self, request)
        while (gates / "answer").exists():
            await asyncio.sleep(0.01)
        return answer
    return answer_when_let
WebJob.tell = tell_and_wait
_Submissions.create, _Editing.edit = waiting(_Submissions.create), waiting(_Editing.edit)
"""

_COMMAND = f"""{_GATED}
from faceblur.cli import main
main(prog_name="faceblur")
"""

_SMALL = f"""{_GATED}
from faceblur.detection.session import SessionOptions
from faceblur.masks.policy import Policy
from faceblur.web.jobs.store import JobStore
from faceblur.web.options import Limits, WebOptions
from faceblur.web import server
server._SWEEP_S = 0.05
sweep = JobStore.sweep
def sweep_when_asked(store):
    asked = gates / "sweep"
    if asked.exists():
        sweep(store)
        asked.unlink()
JobStore.sweep = sweep_when_asked
limits = Limits(file_bytes=400_000, pixels=300_000, jobs=3)
session = SessionOptions(server=sys.argv[1])
policy = Policy(min_face=float(sys.argv[2]))
keep_s = float(sys.argv[3])
options = WebOptions(policy=policy, session=session, limits=limits, keep_s=keep_s, leave_s=0)
server.serve(options, on_listening=lambda address: print(address, flush=True))
"""


@contextmanager
def served(uploads: Path, *arguments: str) -> Iterator[Served]:
    """Start the command, and end it as Ctrl-C does."""
    with _running(uploads, _COMMAND, "web", "--no-browser", "-q", *arguments) as site:
        yield site


@contextmanager
def served_small(
    uploads: Path, server: str, *, min_face: float = 0, keep_s: float = 1800
) -> Iterator[Served]:
    """Serve a page that takes little: files of 0.4 MB and 0.3 megapixels, three of them.

    Files go when the last page was closed, or they were kept long enough, but only when a test has
    it sweep up: nobody can be too slow for that. Faces smaller than `min_face` pixels are not
    covered, so the check finds them.
    """
    with _running(uploads, _SMALL, server, str(min_face), str(keep_s)) as site:
        yield site


@contextmanager
def _running(uploads: Path, program: str, *arguments: str) -> Iterator[Served]:
    gates = uploads.with_name("gates")
    gates.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(gates), *arguments],
        env=os.environ | {"TMPDIR": str(uploads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield Served(process, address, address.partition("/?")[0], uploads, gates)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def until_told(page: Page, holds: Callable[[], object], what: str) -> None:
    """Wait until something holds, and have meanwhile what the browser tells of."""

    def holds_now() -> bool:
        page.wait_for_timeout(10)
        return bool(holds())

    until(holds_now, what)


def files_in(uploads: Path) -> list[str]:
    """Names of what lies in the private folder, without the records of results."""
    found = (path for path in uploads.glob(f"{PREFIX}-*/*/*") if path.is_file())
    return sorted(path.name for path in found)


def asked(page: Page, method: str, path: str, body: str | None = None) -> int:
    """Ask for something as the page does, and return the status."""
    code: int = page.evaluate(
        """async ([method, path, body]) => {
          const headers = { "X-CSRF-Token": localStorage.getItem("faceblur") };
          const options = { method, body, headers };
          return (await fetch(path, options)).status;
        }""",
        [method, path, body],
    )
    return code


def pictured(page: Page, name: str, selector: str = "body") -> None:
    """Write what a part of the page looks like, if FACEBLUR_SCREENSHOTS says to which folder.

    So the images of docs/images are made:
    `FACEBLUR_SCREENSHOTS=docs/images pytest tests/web -k "report or visible or look or added"`.
    """
    folder = os.environ.get("FACEBLUR_SCREENSHOTS")
    if folder is None:
        return
    size = page.viewport_size
    page.set_viewport_size({"width": 1000, "height": 700})
    # What slides is there, and no control of a video lies over it.
    page.wait_for_timeout(1000)
    data = page.locator(selector).first.screenshot()
    with Image.open(io.BytesIO(data)) as image:
        colours = image.convert("RGB")
        few = colours.quantize(palette=colours.quantize(256), dither=Image.Dither.FLOYDSTEINBERG)
        few.save(Path(folder, f"{name}.png"), optimize=True)
    if size is not None:
        page.set_viewport_size(size)


def delete_all(page: Page) -> None:
    """Delete all files, and answer what is asked before."""
    page.click("#delete-all")
    page.click(".question .main")
    page.wait_for_selector("li", state="detached")


def saved(page: Page, path: Path) -> Path:
    """Save the result of the only file."""
    with page.expect_download() as download:
        page.click("li a.save")
    download.value.save_as(path)
    return path


def same(one: Path, other: Path) -> bool:
    """Whether two videos show the same, frame by frame."""
    pairs = zip(decoded(one), decoded(other), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


def run(*line: str | Path) -> None:
    """Run the command."""
    result = CliRunner().invoke(main, list(map(str, line)))
    assert result.exit_code == 0, result.output
