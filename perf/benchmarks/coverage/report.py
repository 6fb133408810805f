"""Write down what the coverage benchmark found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.coverage.bench import ALONE, COVER, DEFACE, Scores
from benchmarks.coverage.clips import MIN_HEIGHT, MIN_SHOWN
from benchmarks.coverage.score import MIN_MASKED, Score
from harness import card_lines, markdown, page_of, verdict, write_results

MIN_RATIO: Final = 10
MAX_LONGEST: Final = 2

_MEASURES: Final[tuple[tuple[str, Callable[[Score], str]], ...]] = (
    ("Leaked face-frames per 1,000", lambda s: f"{s.per_1000:.1f}"),
    ("Longest leak, frames", lambda s: str(s.longest_leak)),
    (
        "Frames to the first mask: worst (mean)",
        lambda s: f"{s.first_mask} ({s.first_mask_mean:.1f})",
    ),
    ("Masked where no face is, % of the frame", lambda s: f"{100 * s.extra:.1f}"),
)


def write_report(
    folder: Path,
    *,
    card: dict[str, object],
    command: str,
    exact: Scores,
    pseudo: Scores,
    passes: Sequence[str],
    agreeing: int,
) -> None:
    """Write coverage.json, coverage.md and coverage.png.

    Args:
        folder: Where to.
        card: The machine and the settings.
        command: What was run.
        exact: Scores where the faces are known.
        pseudo: Scores on pseudo-labels.
        passes: What made the pseudo-labels.
        agreeing: How many of them had to agree.
    """
    targets = judge(exact)
    document = {
        "command": command,
        "card": card,
        "targets": targets,
        "exact": _plain(exact),
        "pseudo_labels": {"passes": list(passes), "agreeing": agreeing, "clips": _plain(pseudo)},
        # Over all scenarios and all clips: what the pages name.
        "totals": _plain({"exact": _total(exact)} | ({"clips": _total(pseudo)} if pseudo else {})),
    }
    parts = [
        "# coverage",
        f"`{command}`",
        f"A face-frame is a face in one frame, at least {MIN_HEIGHT} pixels high, of which at "
        f"least {MIN_SHOWN:.0%} shows. It leaks when less than {MIN_MASKED:.0%} of what shows of "
        "its inscribed ellipse is masked in the output. A leak ends at a hard cut.",
        "## One portrait, moved: ground truth of a single face",
        "The place of its face is known exactly. It says nothing about other faces"
        + ("; for those see the real clips below." if pseudo else "."),
        "\n".join(f"- {verdict(met)}: {text}" for text, met in targets.items()),
        _tables(exact),
        "![leaked face-frames per 1,000](coverage.png)",
    ]
    if pseudo:
        parts += [
            "## Real clips: pseudo-labels, not truth",
            f"Faces on which at least {agreeing} of {len(passes)} passes agree: "
            f"{'; '.join(passes)}. These detectors are of the family under test, which favours "
            "it over deface, and what no pass finds is not counted.",
            _tables(pseudo),
        ]
    parts += [card_lines(card)]
    write_results(folder, "coverage", document, page_of(parts))
    _plot(folder / "coverage.png", exact)


def judge(exact: Scores) -> dict[str, bool]:
    """Which targets were met."""
    total = _total(exact)
    alone, cover = total[ALONE].leaked, total[COVER].leaked
    longest = total[COVER].longest_leak
    verdicts = {
        f"at least {MIN_RATIO} times fewer than each frame alone: {cover} against {alone}": (
            cover * MIN_RATIO <= alone
        ),
        f"longest leak when tracked at most {MAX_LONGEST} frames: {longest}": (
            longest <= MAX_LONGEST
        ),
    }
    if DEFACE in total:
        worse = [name for name, row in exact.items() if row[COVER].leaked > row[DEFACE].leaked]
        text = f"never more than deface; more in: {', '.join(worse) or 'no scenario'}"
        verdicts[text] = not worse
        deface = total[DEFACE].leaked
        verdicts[f"fewer than deface in total: {cover} against {deface}"] = cover < deface
    return verdicts


def _total(scores: Scores) -> dict[str, Score]:
    names = next(iter(scores.values()))
    return {name: Score.joined([row[name] for row in scores.values()]) for name in names}


def _plain(scores: Scores) -> dict[str, dict[str, dict[str, float]]]:
    return {
        clip: {name: asdict(s) | {"per_1000": s.per_1000} for name, s in row.items()}
        for clip, row in scores.items()
    }


def _tables(scores: Scores) -> str:
    total = _total(scores)
    texts = []
    for title, show in _MEASURES:
        rows = [
            (clip, row[ALONE].face_frames, *(show(row[name]) for name in total))
            for clip, row in (scores | {"**all**": total}).items()
        ]
        texts.append(markdown(" | ".join((title, "face-frames", *total)), rows))
    return "\n\n".join(texts)


def _plot(path: Path, scores: Scores) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = scores | {"all": _total(scores)}
    names = list(rows["all"])
    width = 0.8 / len(names)
    figure, axes = plt.subplots(figsize=(12, 4.5))
    for index, name in enumerate(names):
        places = np.arange(len(rows)) + (index - (len(names) - 1) / 2) * width
        axes.bar(places, [row[name].per_1000 for row in rows.values()], width, label=name)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_xticks(np.arange(len(rows)), list(rows))
    axes.set_ylabel("leaked face-frames per 1,000")
    axes.legend(fontsize=8, ncols=3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
