"""How soon the page of `faceblur web` is there, and how soon a photo that is dropped is covered."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from harness import card_lines, command_line, machine_card, markdown, page_of, write_results

PORTRAIT: Final = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"

PAINT: Final = "page: first paint"
COVERED: Final = "photo: covered, and seen so"
CHECKED: Final = "photo: checked, and can be saved"
LOOK: Final = "another look: seen in the frame"
LIMITS_S: Final = {PAINT: 1.0, COVERED: 2.0}
"""What must not take longer."""

# Times are taken in the page itself: what drives the browser is slow.
_WATCH: Final = """() => {
  const times = {};
  let started = Infinity;
  const begin = () => (started = performance.now());
  document.addEventListener("change", begin, { capture: true, once: true });
  return new Promise((done) => {
    const look = () => {
      const image = document.querySelector("#cards li .view img");
      if (image?.complete && image.naturalWidth) times.covered ??= performance.now() - started;
      if (document.querySelector("#cards li:is([data-state=done], [data-state=failed])")) {
        times.checked ??= performance.now() - started;
      }
      if (times.covered && times.checked) done(times);
      else requestAnimationFrame(look);
    };
    look();
  });
}"""
_LOOK: Final = """() => {
  const image = document.querySelector(".look img");
  const started = performance.now();
  return new Promise((done) => {
    image.addEventListener("load", () => done(performance.now() - started), { once: true });
    document.querySelector(".look input[value=solid]").click();
  });
}"""
_PAINT: Final = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


@dataclass(frozen=True)
class Row:
    """One thing that somebody waits for.

    Attributes:
        limit_s: What it must not take longer than; None where nothing is promised.
    """

    what: str
    median_s: float
    lowest_s: float
    highest_s: float
    limit_s: float | None

    @classmethod
    def of(cls, what: str, times_s: Sequence[float]) -> Row:
        """Sum up the rounds."""
        low, high = min(times_s), max(times_s)
        return cls(what, statistics.median(times_s), low, high, LIMITS_S.get(what))

    @property
    def is_late(self) -> bool:
        """Whether it takes longer than it must."""
        return self.limit_s is not None and self.median_s > self.limit_s


@click.command("web")
@click.option("--photo", type=click.Path(path_type=Path, exists=True), help="Else one is made.")
@click.option("--width", default=4000, show_default=True, help="Of the photo that is made, pixels.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--warm-up", default=1, show_default=True, help="Rounds before, not counted.")
@click.option("--server", help="A Triton server; else the page starts its own.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
def web(
    *,
    photo: Path | None,
    width: int,
    rounds: int,
    warm_up: int,
    server: str | None,
    output: Path,
) -> None:
    """Open the page in Chromium, drop a photo on it, and see when what is there.

    Exits with 1 where anything takes longer than it must.
    """
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise click.ClickException("this needs Chromium: apt-get install chromium")
    times: dict[str, list[float]] = {name: [] for name in (PAINT, COVERED, CHECKED, LOOK)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        photo = _made(folder / "photo.jpg", width) if photo is None else photo
        card = machine_card() | _facts(photo) | {"rounds": rounds}
        address = stack.enter_context(_served(server))
        playwright = stack.enter_context(sync_playwright())
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        page.wait_for_selector("#trouble", state="hidden")
        for number in range(warm_up + rounds):
            found = _round(page, photo)
            for name, time_s in found.items() if number >= warm_up else ():
                times[name].append(time_s)
        chromium.close()
    rows = [Row.of(what, each) for what, each in times.items()]
    _write(output, rows, card, times)
    late = [row.what for row in rows if row.is_late]
    if late:
        raise click.ClickException(f"too late: {', '.join(late)}")


def _round(page: Page, photo: Path) -> dict[str, float]:
    page.reload()
    page.wait_for_selector("#trouble", state="hidden")
    page.wait_for_function(f"() => ({_PAINT})() !== null")
    paint_ms = page.evaluate(_PAINT)
    watch = page.evaluate_handle(f"() => ({{ times: ({_WATCH})() }})")
    page.set_input_files("#files", photo)
    shown = watch.evaluate("({ times }) => times")
    page.click("text=Change the look")
    page.wait_for_function("() => document.querySelector('.look img').naturalWidth > 0")
    look_ms = page.evaluate(_LOOK)
    page.click("#delete-all")
    page.click(".question .main")
    page.wait_for_selector("#cards li", state="detached")
    each_ms = {PAINT: paint_ms, COVERED: shown["covered"], CHECKED: shown["checked"], LOOK: look_ms}
    return {name: time_ms / 1000 for name, time_ms in each_ms.items()}


@contextmanager
def _served(server: str | None) -> Iterator[str]:
    """Start the page, and give its address."""
    line = [sys.executable, "-m", "faceblur", "web", "--no-browser", "-q"]
    line += [] if server is None else ["--server", server]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise click.ClickException("the page did not start")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _made(path: Path, width: int) -> Path:
    """A photo of one person, 4:3, as large as it is wanted, with the grain of a sensor."""
    portrait = cv2.imread(str(PORTRAIT))
    height = width * 3 // 4
    side = (width - height) // 2
    image = cv2.resize(portrait, (height, height), interpolation=cv2.INTER_CUBIC)
    image = cv2.copyMakeBorder(image, 0, 0, side, width - height - side, cv2.BORDER_REPLICATE)
    grain = np.random.default_rng(1).integers(-3, 4, image.shape)
    image = np.clip(image.astype(np.int16) + grain, 0, 255).astype(np.uint8)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return path


def _facts(photo: Path) -> dict[str, Any]:
    height, width = cv2.imread(str(photo)).shape[:2]
    size = photo.stat().st_size / 1e6
    return {"photo": f"{width} × {height} pixels, {size:.1f} MB"}


def _write(
    output: Path, rows: Sequence[Row], card: dict[str, object], times: dict[str, list[float]]
) -> None:
    document = {
        "command": command_line(sys.argv),
        "card": card,
        "rows": [asdict(row) for row in rows],
        "times_s": {name: [round(each, 3) for each in of] for name, of in times.items()},
    }
    cells = [
        (
            row.what,
            f"{row.median_s:.2f}",
            f"{row.lowest_s:.2f}-{row.highest_s:.2f}",
            "" if row.limit_s is None else f"{row.limit_s:g}",
        )
        for row in rows
    ]
    table = markdown("what somebody waits for | median, s | lowest-highest | at most", cells)
    facts = card_lines(card)
    note = (
        "Headless Chromium on the same machine; the photo's times begin with its choice in the "
        "page, so copying it to the server counts."
    )
    parts = ["# The page of `faceblur web`", f"`{command_line(sys.argv)}`", note, table, facts]
    write_results(output, "web", document, page_of(parts))
    click.echo(table)
