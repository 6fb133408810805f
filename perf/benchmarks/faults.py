"""What a viewer receives of a live camera while everything it depends on fails."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from harness import card_lines, command_line, machine_card, markdown, page_of
from rig.clips import FPS
from rig.faults import FAULTS
from rig.judge import LIKENESS, SCORE, Judge
from rig.trial import DEADLINE_S, SIZE, Setup, Trial, TrialResult, trial

AFTER_S: Final = 1.0
"""For how long a camera that has recovered is watched: its first frames count too."""

SETUPS: Final = (Setup(), Setup(detect_every=2, lookahead=3))

INTRODUCTION: Final = (
    "A camera with a moving face is masked with a real Triton server and published over RTSP to a "
    "viewer in its own process. Between the camera and its server are a gRPC server and a TCP "
    "proxy that misbehave on demand; the server's processes are stopped and killed. All of it is "
    "done to one camera that runs the detector on every frame, and to one that runs it on every "
    f"second frame with a look-ahead of {SETUPS[1].lookahead}. Every frame that the viewer "
    "received, from shortly before a fault until a second after the recovery, is judged in two "
    f"ways: by correlation with the known face ({LIKENESS} or more counts as shown) and by the "
    f"judge's own detector (a score of {SCORE} or more where the one face is, or anywhere if its "
    "place is unknown). A frame with an unmasked face by either is a failure, and so is a missing "
    "recovery."
)
HEAD: Final = (
    "fault | times | frames a viewer received | of them with an unmasked face | placeholders "
    "| seconds to masked | seconds to recovery"
)
NOTES: Final = (
    "Seconds are medians, with the longest in brackets. To masked: from the fault to the first "
    "placeholder at the viewer; the frames in between had been checked before the fault. Since the "
    "camera's deadline is {deadline_s:g} s, a hang shows only after that; a look-ahead adds its "
    "frames. To recovery: from the end of the fault (for a server that has to be restarted, from "
    "when it is ready) to the first masked frame of the camera.",
    "The control makes the detector blind past everything that guards it, in the same camera and "
    "with the same viewer, after all other faults, and counts from just after the first leak: "
    "these faces are meant to be seen, and a judge that misses them fails the run. The control is "
    "not in the totals.",
    "Everything received, from the first frame to the last before the control, was then judged "
    "once more by correlation alone: {recorded} frames, {recorded_faces} with an unmasked face.",
)


@click.command()
@click.option(
    "--repeat", default=1, show_default=True, help="Times that each camera meets each fault."
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("perf/results"))
@click.option(
    "--page", "page_file", type=click.Path(path_type=Path), default=Path("docs/faults.md")
)
def faults(*, repeat: int, output: Path, page_file: Path) -> None:
    """Break what a live camera depends on, and judge what a viewer received.

    Exits with 1 when a face was seen, when the camera did not recover, or when the judge is blind.
    """
    card = machine_card() | {"frames": f"{SIZE[0]} × {SIZE[1]} at {FPS} fps"}
    started_s = time.monotonic()
    parts = []
    for setup in SETUPS:
        with tempfile.TemporaryDirectory() as folder, trial(Path(folder), setup) as door:
            try:
                parts.append(_measure(door, repeat))
            except TimeoutError as error:
                raise click.ClickException(f"no placeholder, recovery, control: {error}") from error
    document = _merged(parts)
    card["minutes"] = round((time.monotonic() - started_s) / 60, 1)
    document |= {"command": command_line(sys.argv), "card": card}
    output.mkdir(parents=True, exist_ok=True)
    (output / "faults.json").write_text(json.dumps(document, indent=1) + "\n")
    page_file.write_text(page(document))
    click.echo(page(document))
    if leaks(document) or not all(part["control"]["faces"] for part in parts):
        raise SystemExit(1)


def leaks(document: Mapping[str, Any]) -> int:
    """Frames with an unmasked face that were received, the control's aside."""
    by_trial: int = sum(each["faces"] for each in document["trials"])
    recorded: int = document["recorded_faces"]
    return by_trial + recorded


def page(document: Mapping[str, Any]) -> str:
    """What faults.json says, as docs/faults.md."""
    trials, control = document["trials"], document["control"]
    names = list(dict.fromkeys(each["fault"] for each in trials))
    rows = [_row(name, [each for each in trials if each["fault"] == name]) for name in names]
    rows.append(_row("**all faults**", trials))
    counts = (control[key] for key in ("times", "pictures", "faces", "withheld"))
    rows.append(("control: the detector is made blind", *counts, "never", "-"))
    parts = [
        "# What a viewer sees when something fails",
        INTRODUCTION,
        "```\nperf/run faults --repeat 10\n```",
        "runs it, writes this page, and exits with 1 if a single such frame was received. "
        f"This page: `{document['command']}`.",
        markdown(HEAD, rows),
        *(note.format_map(document) for note in NOTES),
        card_lines(document["card"]),
    ]
    return page_of(parts)


def _measure(door: Trial, repeat: int) -> dict[str, Any]:
    results: list[TrialResult] = []
    for _ in range(repeat):
        for fault in FAULTS:
            results.append(door.run(fault, after_s=AFTER_S))
            click.echo(f"{len(results)}/{repeat * len(FAULTS)} {results[-1]}", err=True)
    # The frames between two faults were not judged yet.
    by_pixels = Judge(SIZE[1], detect=False)
    recorded = [by_pixels(seen.image) for seen in door.viewer.seen()]
    control = door.control()
    return {
        "trials": [asdict(result) for result in results],
        "recorded": len(recorded),
        "recorded_faces": sum(verdict.face for verdict in recorded),
        "control": {
            "times": 1,
            "pictures": len(control),
            "faces": sum(verdict.face for verdict in control),
            "withheld": sum(verdict.placeholder for verdict in control),
        },
    }


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all cameras met, together."""
    return {
        "deadline_s": DEADLINE_S,
        "setups": [asdict(setup) for setup in SETUPS],
        "trials": [trial for part in parts for trial in part["trials"]],
        "recorded": sum(part["recorded"] for part in parts),
        "recorded_faces": sum(part["recorded_faces"] for part in parts),
        "control": {
            name: sum(part["control"][name] for part in parts) for name in parts[0]["control"]
        },
    }


def _row(name: str, trials: Sequence[Mapping[str, Any]]) -> tuple[object, ...]:
    counts = [sum(each[key] for each in trials) for key in ("pictures", "faces", "withheld")]
    times = [[each[key] for each in trials] for key in ("masked_after_s", "recovered_after_s")]
    seconds = [f"{statistics.median(each):.1f} ({max(each):.1f})" for each in times]
    return (name, len(trials), *counts, *seconds)
