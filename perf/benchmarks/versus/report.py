"""Write down what the comparison with another program found."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.coverage.score import MIN_MASKED
from benchmarks.versus.clips import Format
from benchmarks.versus.process import Usage
from benchmarks.versus.programs import BACKENDS, DEFAULT, EQUAL, IN_PROCESS, OURS
from benchmarks.versus.score import BINS, MIN_JUDGED, Masked, bin_name, fewer, total
from harness import card_lines, markdown, page_of, verdict, write_results

MIN_SPEED: Final = {
    name + backend: least
    for backend in BACKENDS.values()
    for name, least in ((DEFAULT, 5.0), (EQUAL, 2.0))
}
"""Targets: how many times as fast ours is."""


@dataclass
class Result:
    """What was measured on one clip.

    Attributes:
        format: Of the clip.
        names: Of the programs; the first is ours.
        rounds: By program, the usage for a clip of one frame and for the whole one, by round.
        peak_mb: By program, memory at most.
        masked: By program, which faces it masked.
    """

    format: Format
    names: Sequence[str]
    rounds: dict[str, list[tuple[Usage, Usage]]] = field(default_factory=dict)
    peak_mb: dict[str, float | None] = field(default_factory=dict)
    masked: dict[str, Masked] = field(default_factory=dict)

    def add(self, name: str, *, start: Usage, whole: Usage) -> None:
        """Take up one round of one program."""
        self.rounds.setdefault(name, []).append((start, whole))

    def summary(self, name: str) -> Summary:
        """One program, over all rounds."""
        rounds, frames = self.rounds[name], self.format.frames
        ratios = [
            whole.wall_s / ours.wall_s
            for (_, whole), (_, ours) in zip(rounds, self.rounds[OURS], strict=True)
        ]
        return Summary(
            frames_per_s=statistics.median(frames / whole.wall_s for _, whole in rounds),
            start_s=statistics.median(start.wall_s for start, _ in rounds),
            # The clip of one frame is start-up, for all but one frame.
            running_frames_per_s=statistics.median(
                (frames - 1) / max(whole.wall_s - start.wall_s, 1e-9) for start, whole in rounds
            ),
            cpu_s=statistics.median(whole.cpu_s for _, whole in rounds),
            start_cpu_s=statistics.median(start.cpu_s for start, _ in rounds),
            peak_mb=self.peak_mb.get(name),
            ratio=statistics.median(ratios),
            ratio_low=min(ratios),
            ratio_high=max(ratios),
        )


@dataclass(frozen=True)
class Summary:
    """One program on one clip; medians over the rounds.

    Attributes:
        frames_per_s: From start to end, all frames.
        start_s: Time for a clip of one frame.
        running_frames_per_s: Without that.
        cpu_s: CPU time of all its processes.
        start_cpu_s: The same for a clip of one frame.
        peak_mb: Memory of all its processes, at most.
        ratio: How many times as long as ours it took, in the same round.
        ratio_low: The lowest of them.
        ratio_high: The highest of them.
    """

    frames_per_s: float
    start_s: float
    running_frames_per_s: float
    cpu_s: float
    start_cpu_s: float
    peak_mb: float | None
    ratio: float
    ratio_low: float
    ratio_high: float


Listed = Mapping[str, Mapping[str, Masked]]
"""By what was shown of labelled images and by program, which faces it masked."""


def judge(results: Sequence[Result], listed: Listed) -> dict[str, bool]:
    """Which targets were met."""
    verdicts = {}
    for result in results:
        for name in result.names:
            if (least := MIN_SPEED.get(name)) is None:
                continue
            summary = result.summary(name)
            text = f"{result.format.name}: at least {least:g} times as fast as {name}"
            verdicts[f"{text}: {summary.ratio:.2f} times"] = summary.ratio >= least
    names = results[0].names
    clips = {name: total(result.masked[name] for result in results) for name in names}
    for what, masked in {"the clips": clips, **listed}.items():
        others = [masked[name] for name in names if name.startswith(EQUAL)]
        found = {bin_ for other in others for bin_ in fewer(masked[OURS], other)}
        worse = [name for name in (bin_name(*each) for each in BINS) if name in found]
        text = f"{what}: no fewer faces masked than by {EQUAL} in any bin from {MIN_JUDGED} px on"
        verdicts[f"{text}; fewer in: {', '.join(worse) or 'no bin'}"] = not worse
    return verdicts


def write_report(
    folder: Path,
    *,
    results: Sequence[Result],
    listed: Listed,
    card: dict[str, object],
    command: str,
) -> None:
    """Write versus.json, versus.md and versus.png.

    Args:
        folder: Where to.
        results: Of each clip.
        listed: Of images whose faces people listed.
        card: The machine and the settings.
        command: What was run.
    """
    targets = judge(results, listed)
    document = {
        "command": command,
        "card": card,
        "targets": targets,
        "clips": {result.format.name: _plain(result) for result in results},
        "labelled": {
            shown: {name: _faces(masked) for name, masked in row.items()}
            for shown, row in listed.items()
        },
    }
    parts = [
        "# versus",
        f"`{command}`",
        "From file to file, each program as a user would run it, start-up included; rounds are "
        f"interleaved. **{OURS}** and **{DEFAULT}** are at their defaults; "
        f"**{IN_PROCESS}** starts no server; **{EQUAL}** has the size of our model input "
        "and the settings of our encoder. deface runs with OpenCV, as a plain installation does, "
        "and with ONNX Runtime. All encode with x264.",
        "\n".join(f"- {verdict(met)}: {text}" for text, met in targets.items()),
        *(_speed_table(result) for result in results),
        "CPU time and memory are those of all processes that a program starts. Start-up is the "
        "time for a clip of one frame. Memory counts pages that processes share once, and was "
        "measured in a run that was not timed.",
        "## Faces masked",
        f"A face counts as masked when {MIN_MASKED:.0%} of its inscribed ellipse has the colour "
        "of the masks in the finished video; otherwise it leaked in that frame. Masks are drawn "
        "in one colour for this, where they would be. Heights are those of the face in an image as "
        "wide as the model input. In the clips they are pseudo-labels: what most passes of a "
        "detector at larger input sizes agree on, in two consecutive frames. It is of the same "
        "family as ours, though not the model under test, and what it does not find is not "
        "counted. Labelled images are shown for a frame each, and each is masked by itself "
        "(`--no-cover`) with the model that images get. In pans over them every face is labelled "
        "in every frame, exactly.",
        *(
            f"### {title}\n\n{_face_table(masked)}"
            for title, masked in [
                *((r.format.name, r.masked) for r in results),
                *((f"{shown[0].upper()}{shown[1:]}", row) for shown, row in listed.items()),
            ]
        ),
        "![speed, and faces masked](versus.png)",
        card_lines(card),
    ]
    write_results(folder, "versus", document, page_of(parts))
    _plot(folder / "versus.png", results)


def _speed_table(result: Result) -> str:
    head = (
        f"{result.format.name}, {result.format.frames} frames | frames/s | start-up s "
        "| frames/s after it | CPU s | of it start-up | peak MB | ours is faster by "
        "| lowest-highest"
    )
    rows = [
        (
            name,
            *(f"{value:.1f}" for value in (s.frames_per_s, s.start_s, s.running_frames_per_s)),
            *(f"{value:.1f}" for value in (s.cpu_s, s.start_cpu_s)),
            "" if s.peak_mb is None else f"{s.peak_mb:.0f}",
            f"{s.ratio:.2f}",
            f"{s.ratio_low:.2f}-{s.ratio_high:.2f}",
        )
        for name, s in ((name, result.summary(name)) for name in result.names)
    ]
    return markdown(head, rows)


def _face_table(masked: Mapping[str, Masked]) -> str:
    ways, first = masked.values(), next(iter(masked.values()))
    rows: list[tuple[object, ...]] = [
        (
            bin_name(low, high),
            first.faces[low],
            *(_share(m.masked(low), m.faces[low]) for m in ways),
        )
        for low, high in BINS
    ]
    rows.append(("**leaked face-frames**", first.faces.total(), *(m.leaked.total() for m in ways)))
    return markdown(" | ".join(("height of the face", "face-frames", *masked)), rows)


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else "0"


def _plain(result: Result) -> dict[str, Any]:
    return {
        name: {
            **vars(result.summary(name)),
            "rounds": [
                {
                    "start_s": start.wall_s,
                    "start_cpu_s": start.cpu_s,
                    "wall_s": whole.wall_s,
                    "cpu_s": whole.cpu_s,
                }
                for start, whole in result.rounds[name]
            ],
            "frames": result.format.frames,
            **_faces(result.masked[name]),
        }
        for name in result.names
    }


def _faces(masked: Masked) -> dict[str, dict[str, int]]:
    return {
        "faces": {bin_name(*b): masked.faces[b[0]] for b in BINS},
        "leaked": {bin_name(*b): masked.leaked[b[0]] for b in BINS},
    }


def _plot(path: Path, results: Sequence[Result]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = results[0].names
    width = 0.8 / len(names)
    figure, (speed, faces) = plt.subplots(1, 2, figsize=(12, 4.5))
    for index, name in enumerate(names):
        offset = (index - (len(names) - 1) / 2) * width
        rates = [result.summary(name).frames_per_s for result in results]
        bars = speed.bar([i + offset for i in range(len(results))], rates, width, label=name)
        speed.bar_label(bars, fmt="%.1f", fontsize=8)
        masked = total(result.masked[name] for result in results)
        shares = [100 * masked.masked(low) / max(1, masked.faces[low]) for low, _ in BINS]
        faces.bar([i + offset for i in range(len(BINS))], shares, width, label=name)
    speed.set_xticks(range(len(results)), [result.format.name for result in results])
    speed.set_ylabel("frames per second, from file to file")
    speed.legend(fontsize=8)
    faces.set_xticks(range(len(BINS)), [bin_name(low, high) for low, high in BINS])
    faces.set_ylabel("faces masked, %")
    faces.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
