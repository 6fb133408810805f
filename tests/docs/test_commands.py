"""Every command line in the pages is one that the programs take, and the cheap ones are run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from doc_commands import PACKAGES, ROOT, SCRIPTS, fault, lines, options, program

from faceblur.cli import main

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deploy").rglob("README.md")),
    *sorted((ROOT / "perf" / "results").glob("*.md")),
]
SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env").read_text(), re.MULTILINE))
FOREIGN = {
    "--model-config-name",
    "--allow-client-shm",
    "--backend-config",
    "--build-arg",
    "--hostname",
    "--trace-config",
}
"""Options of other programs that the pages name."""


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_line_is_taken(page: Path) -> None:
    said = {" ".join(line.words): fault(line, SETTINGS) for line in lines(page.read_text())}
    assert {line: text for line, text in said.items() if text is not None} == {}


def test_the_pages_are_full_of_commands() -> None:
    named = [line.words[0] for page in PAGES for line in lines(page.read_text())]
    assert {*PACKAGES, *SCRIPTS} == set(named)
    assert len(named) > 150


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```\nfaceblur blur photo.jpg --mask solid\n```", None),
        ("```\nfaceblur blur photo.jpg --mask gaussian\n```", "gaussian"),
        ("```\nfaceblur blurr photo.jpg\n```", "blurr"),
        ("```\nfaceblur blur\n```", "Missing argument"),
        ("```\npip install x && faceblur blur p.jpg --treshold 1\n```", "--treshold"),
        ("```\nfaceblur blur p.jpg \\\n    --workers many\n```", "many"),
        ("```\nsudo faceblur doctor extra\n```", "extra"),
        ("```\ndocker compose exec triton faceblur doctor --loud\n```", "--loud"),
        ("```ini\nExecStart=/opt/bin/faceblur run --colour cameras.yaml\n```", "--colour"),
        ("```yaml\n  command: [faceblur-export, repository, --out=/m]\n```", "--out"),
        ("```yaml\n  command: [faceblur-export, repository, -o, m, '--size=${NO}']\n```", "NO"),
        ("```\nfaceblur-train evaluate --data x --jsn y\n```", "--jsn"),
        ("```\nperf/run coverage clip.mp4 --defaced deface\n```", "--defaced"),
        ("```\nperf/versus clip.mp4 --deface d --label x\n```", "--label"),
        ("```\nperf/compare one.json\n```", "Missing argument"),
        ("see `faceblur blur --masks MODE`", "--masks"),
        ("see `faceblur blur --mask MODE --shape ellipse|box`", None),
        ("see `faceblur blur --shape ellipse|circle`", "circle"),
        ("```\nperf/versus --labelled\n```", "requires an argument"),
        ("see `faceblur serve --host`, `faceblur blur --mask`", None),
        ("see `perf/run`, `faceblur blur` and `perf/run coverage`", None),
    ],
)
def test_a_wrong_line_is_seen(text: str, told: str | None) -> None:
    said = [fault(line, SETTINGS) for line in lines(text)]
    assert said
    if told is None:
        assert set(said) == {None}
    else:
        assert told in str(said)


def test_every_option_that_a_sentence_names_exists() -> None:
    known = FOREIGN.union(*(options(program(name)) for name in (*PACKAGES, *SCRIPTS)))
    for page in PAGES:
        unknown = set(re.findall(r"`(--[a-z-]+)", page.read_text())) - known
        assert not unknown, f"{page.name} names {unknown}"


@pytest.mark.parametrize("page", ["README.md", "docs/masks.md"])
def test_commands_on_the_portrait_run(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    monkeypatch.chdir(tmp_path)
    told = [
        line.words[1:]
        for line in lines((ROOT / page).read_text())
        if line.whole and "docs/images/before.jpg" in line.words
    ]
    assert told
    for words in told:
        _run(words)


def _run(words: Sequence[str]) -> None:
    replayed = "--boxes" in words
    done = CliRunner().invoke(main, [*words, *([] if replayed else ["--in-process"])])
    assert done.exit_code == 0, done.output
    named = words[words.index("-o") + 1] if "-o" in words else "docs/images/before_blurred.jpg"
    assert Path(named).stat().st_size > 0
