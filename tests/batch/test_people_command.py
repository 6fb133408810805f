"""Choosing people: the page that shows them, and what is left unmasked of those who were chosen."""

from __future__ import annotations

import base64
import json
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.coverage.score import MARK, is_marked
from benchmarks.coverage.videos import read_clip, write_clip
from benchmarks.people.scenes import SCENES, Shown, frames, people
from faceblur.batch.annotations import AnnotationFile
from faceblur.batch.people import Person
from faceblur.batch.people_page import write_page
from faceblur.cli import main
from faceblur.detections import Detections, TrackSummary
from faceblur.times import parse_time
from faceblur.tracking import keeping
from faceblur.tracking.likeness import LikenessCheck

ROOT = Path(__file__).resolve().parents[2]
COLOUR = "".join(f"{value:02x}" for value in MARK)
SOLID = ("--mask", "solid", "--colour", COLOUR, "--encoder", "ffv1")


def run(*arguments: str | Path) -> Result:
    line = list(map(str, arguments))
    return CliRunner().invoke(main, line, prog_name="faceblur", catch_exceptions=False)


@dataclass(frozen=True, eq=False)
class Made:
    """A clip of two people who cross, its page, its list, and what each frame shows of them."""

    clip: Path
    page: Path
    listed: Path
    truth: list[tuple[Shown, Shown]]
    said: str

    def media(self) -> dict[str, Any]:
        entry: dict[str, Any] = json.loads(self.listed.read_text())["media"][0]
        return entry


@pytest.fixture(scope="module")
def made(bundled_server: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("people")
    clip, page = folder / "clip.mp4", folder / "people.html"
    scene = next(scene for scene in SCENES if scene.name == "cross, in front")
    pair = people(ROOT / "docs" / "images" / "before.jpg")
    drawn = list(frames(scene, pair, rate=12, seed=1))
    write_clip(clip, [image for image, _ in drawn], rate=12)
    result = run("people", clip, "-o", page, "--server", bundled_server)
    assert result.exit_code == 0, result.output
    truth = [shown for _, shown in drawn]
    return Made(clip, page, page.with_suffix(".json"), truth, result.stdout)


def whose(made: Made, track: int) -> set[int]:
    """Which of the two a track shows wherever it may be left unmasked: 0, 1 or both."""
    annotations = AnnotationFile.read(made.listed).media(made.clip)
    steady = {name: spans.steady for name, spans in annotations.certainty.items()}
    shown = keeping.unmasked(annotations.log, kept={track}, steady=steady)
    found = set()
    for frame, faces, truth in zip(annotations.log, shown, made.truth, strict=True):
        for box in frame.detections.boxes[faces]:
            middle = (box[:2] + box[2:]) / 2
            away = [np.hypot(*(middle - (p.box[:2] + p.box[2:]) / 2)) for p in truth]
            found.add(int(np.argmin(away)))
    return found


def test_no_track_is_of_two_people_and_nobody_else_shows(made: Made, tmp_path: Path) -> None:
    tracks = {track["id"]: whose(made, track["id"]) for track in made.media()["tracks"]}
    assert all(len(people) <= 1 for people in tracks.values()), tracks
    first = [track for track, people in tracks.items() if people == {0}]
    # Before and after they crossed.
    assert len(first) >= 2
    output = tmp_path / "out.mkv"
    chosen = ",".join(map(str, first))
    audit = tmp_path / "audit"
    result = run(
        "blur", made.clip, "-o", output, "--boxes", made.listed, "--keep-visible", chosen, *SOLID,
        "--audit", audit,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    seen = 0
    for image, (kept, other) in zip(read_clip(output), made.truth, strict=True):
        marked = is_marked(image)
        if other.counts:
            assert marked[other.face].mean() >= 0.9
        seen += kept.counts and bool(marked[kept.face].mean() < 0.1)
    assert seen >= 0.25 * len(made.truth)
    # It says how often somebody who was chosen was masked all the same, and so does the audit.
    said = re.search(r"track \d+ unmasked in (\d+) of (\d+)", result.stdout)
    assert said is not None
    assert "where somebody else was close" in result.stdout
    first_line, *lines = (audit / "00000001.jsonl").read_text().splitlines()
    manifest = json.loads(first_line)
    tallies = {tally["id"]: tally for tally in manifest["tracks"]}
    assert tallies[first[0]]["unmasked"] == int(said[1])
    assert tallies[first[0]]["masked"] == int(said[2]) - int(said[1])
    assert sum(len(json.loads(line)["unmasked"]) for line in lines) == sum(
        tally["unmasked"] for tally in tallies.values()
    )
    assert manifest["settings"]["boxes"]["keep_visible"] == first
    assert len(first_line) < 10_000


def test_only_masks_those_and_whoever_may_be_them(made: Made, tmp_path: Path) -> None:
    second = [track["id"] for track in made.media()["tracks"] if whose(made, track["id"]) != {0}]
    output = tmp_path / "out.mkv"
    chosen = ",".join(map(str, second))
    result = run("blur", made.clip, "-o", output, "--boxes", made.listed, "--only", chosen, *SOLID)
    assert result.exit_code == 0, result.output
    shown = 0
    for image, (kept, other) in zip(read_clip(output), made.truth, strict=True):
        marked = is_marked(image)
        assert not other.counts or marked[other.face].mean() >= 0.9
        shown += kept.counts and bool(marked[kept.face].mean() < 0.1)
    assert shown >= 0.25 * len(made.truth)


def test_whom_something_else_covers_does_not_count_as_seen(made: Made, tmp_path: Path) -> None:
    first = [track["id"] for track in made.media()["tracks"] if whose(made, track["id"]) == {0}]
    output, audit = tmp_path / "out.mkv", tmp_path / "audit"
    chosen = ",".join(map(str, first))
    result = run(
        "blur", made.clip, "-o", output, "--boxes", made.listed, "--keep-visible", chosen, *SOLID,
        "--audit", audit, "--always", "0,0 0.3,0 0.3,1 0,1", "--hide", "0:04-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    first_line, *lines = (audit / "00000001.jsonl").read_text().splitlines()
    boxes = [json.loads(line)["unmasked"] for line in lines]
    seen = 0
    for image, shown in zip(read_clip(output), boxes, strict=True):
        for left, top, right, bottom in np.array(shown, int).tolist():
            assert is_marked(image)[top:bottom, left:right].mean() < 0.9
            seen += 1
    tallies = {tally["id"]: tally for tally in json.loads(first_line)["tracks"]}
    assert sum(tallies[track]["unmasked"] for track in first) == seen > 5
    covered = re.search(r"covered in (\d+) by what else is masked there", result.stdout)
    assert covered is not None, result.stdout
    assert int(covered[1]) > 5
    # Those frames count as masked: nothing is lost of a track.
    frames = {track["id"]: track["frames"] for track in made.media()["tracks"]}
    assert all(sum(tallies[t][k] for k in ("masked", "unmasked")) == frames[t] for t in first)


def test_times_are_those_that_players_show(made: Made, bundled_server: str, tmp_path: Path) -> None:
    """Of a file whose clock starts at an hour: the page, corrections and the summary agree."""
    late, page, output = (tmp_path / name for name in ("late.ts", "late.html", "out.mkv"))
    with av.open(str(made.clip)) as source, av.open(str(late), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts += int(3600 / packet.time_base)
                packet.dts += int(3600 / packet.time_base)
                packet.stream = copy
                target.mux(packet)
    assert run("people", late, "-o", page, "--server", bundled_server).exit_code == 0
    cards = re.findall(
        r"Track (\d+)</b>\s*<span>(\S+) to (\S+),.*?seen here at (\S+)</span>",
        page.read_text(),
        re.S,
    )
    assert cards
    listed = page.with_suffix(".json")
    content = json.loads(listed.read_text())
    media = content["media"][0]
    assert media["start_s"] >= 3600
    for name, *clocks in cards:
        first, last, seen = (parse_time(clock) for clock in clocks)
        assert first is not None
        assert last is not None
        assert seen is not None
        assert 0 <= first <= seen <= last <= 5
        # The moment of the card, given back as that of a correction, is of this very track.
        frame = min(media["frames"], key=lambda f: abs(f["pts_s"] - media["start_s"] - seen))
        box = next(face["box"] for face in frame["faces"] if face.get("track") == int(name))
        media["corrections"] = [{"remove": {"at": float(seen) + 0.01, "box": box}}]
        listed.write_text(json.dumps(content))
        result = run("blur", late, "-o", output, "--boxes", listed, *SOLID)
        assert f"track {name} stays masked in" in result.stdout, result.output


def test_verify_takes_those_who_were_kept_for_spared(
    made: Made, bundled_server: str, tmp_path: Path
) -> None:
    first = [t["id"] for t in made.media()["tracks"] if whose(made, t["id"]) == {0}]
    output, audit = tmp_path / "out.mkv", tmp_path / "audit"
    chosen = ",".join(map(str, first))
    options = ("--keep-visible", chosen, "--mask", "solid", "--audit", audit)
    assert run("blur", made.clip, "-o", output, "--boxes", made.listed, *options).exit_code == 0
    checked = ("verify", output, "--source", made.clip, "--server", bundled_server)
    assert run(*checked).exit_code == 1
    result = run(*checked, "--audit", audit)
    assert result.exit_code == 0, result.output


def test_the_page_shows_each_track_and_is_nobody_elses(made: Made) -> None:
    text = made.page.read_text()
    assert stat.S_IMODE(made.page.stat().st_mode) == 0o600
    # Nothing is fetched, and nothing else was written.
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|https?:|fetch\(""", text)
    assert "default-src 'none'" in text
    assert {path.name for path in made.page.parent.iterdir()} == {
        "clip.mp4", "people.html", "people.json",
    }  # fmt: skip
    assert "shows unmasked faces" in text
    assert "delete it" in made.said
    cards = re.findall(r'alt="track (\d+)" src="data:image/jpeg;base64,([^"]+)"', text)
    certain = {track["id"] for track in made.media()["tracks"] if track["certain"]}
    assert cards
    assert {int(track) for track, _ in cards} <= certain
    for _, data in cards:
        view = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
        assert max(view.shape[:2]) > 100


def test_a_page_names_thousands_of_short_tracks_in_few_words(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    short = TrackSummary(id=1, first_s=0, last_s=1, frames=9, largest_height=20, best_frame=0)
    people = [Person(replace(short, id=i), 0, 1) for i in (1, 2, 3, 7, *range(20, 3000))]
    write_page(page, people, source=Path("clip.mp4"), listed=Path("list.json"))
    assert "always masked: 1-3, 7, 20-2999.</p>" in page.read_text()


def test_a_page_of_a_list_finds_nothing_anew(made: Made, tmp_path: Path) -> None:
    page = tmp_path / "again.html"
    result = run("people", made.clip, "-o", page, "--boxes", made.listed, "--server", "nowhere:1")
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["again.html"]
    views = [re.findall('base64,([^"]+)', path.read_text()) for path in (page, made.page)]
    assert views[0] == views[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--keep-visible", "1"), "make one with `faceblur people .*clip.mp4 -o people.html`"),
        (("--boxes", "LIST", "--keep-visible", "1", "--only", "2"), "not both"),
        (("--boxes", "LIST", "--keep-visible", "x"), "is no list of tracks"),
        (("--boxes", "LIST", "--keep-visible", "7-3"), "no track or range of tracks"),
        (("--boxes", "LIST", "--only", "999"), "has no track 999: it has 1 to"),
        (("--boxes", "OLD", "--only", "1"), "has no tracks for --only: make it again"),
        (("--boxes", "min_face", "--only", "1"), "lists only some of the faces"),
        (("--boxes", "zones", "--keep-visible", "1"), "lists only some of the faces"),
        (("--boxes", "spans", "--keep-visible", "1"), "lists only some of the faces"),
    ],
)
def test_a_choice_that_cannot_be_followed_is_refused(
    made: Made, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    content = json.loads(made.listed.read_text())
    content["version"] = 1
    del content["media"][0]["tracks"]
    for frame in content["media"][0]["frames"]:
        for face in frame["faces"]:
            del face["track"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(content))
    names = {"LIST": str(made.listed), "OLD": str(old)}
    corners = [[0, 0], [1, 0], [1, 1]]
    for name, value in {
        "min_face": 20,
        "zones": [{"kind": "never", "corners": corners, "time": None}],
        "spans": [{"effect": "spare", "start_s": 0, "end_s": 1}],
    }.items():
        partial = json.loads(made.listed.read_text())
        partial["policy"][name] = value
        (tmp_path / name).write_text(json.dumps(partial))
        names[name] = str(tmp_path / name)
    output = tmp_path / "out.mkv"
    result = run("blur", made.clip, "-o", output, *(names.get(o, o) for o in options))
    text = " ".join(result.stderr.split())
    assert (result.exit_code, text.count("faceblur:")) == (3, 1), text
    assert re.search(reason, text), text
    assert not output.exists()


def test_tracks_are_told_apart_only_for_who_wants_them(
    made: Made, bundled_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    follow = LikenessCheck.follow

    def watched(*arguments: Any, **how: Any) -> Detections:
        seen.append(arguments)
        return follow(*arguments, **how)

    monkeypatch.setattr(LikenessCheck, "follow", watched)
    line = ("blur", made.clip, "-o", tmp_path / "out.mkv", "--server", bundled_server)
    assert run(*line).exit_code == 0
    assert not seen
    assert run(*line, "--json", tmp_path / "found.json").exit_code == 0
    assert len(seen) == len(made.truth)
    assert json.loads((tmp_path / "found.json").read_text())["media"][0]["tracks"]


def test_a_list_with_corrections_is_not_replaced(made: Made, tmp_path: Path) -> None:
    listed = tmp_path / "people.json"
    content = json.loads(made.listed.read_text())
    content["media"][0]["corrections"] = [{"remove": 1}]
    listed.write_text(json.dumps(content))
    before = listed.read_bytes()
    for command in (
        ("people", made.clip, "-o", tmp_path / "people.html", "--in-process"),
        ("blur", made.clip, "-o", tmp_path / "out.mkv", "--json", listed, "--in-process"),
    ):
        result = run(*command)
        assert result.exit_code == 3
        assert "has corrections, which would be lost" in " ".join(result.stderr.split())
    assert listed.read_bytes() == before
    assert list(tmp_path.iterdir()) == [listed]


def test_images_and_cameras_have_no_people_to_choose(made: Made, tmp_path: Path) -> None:
    photo = ROOT / "docs" / "images" / "before.jpg"
    page = tmp_path / "page.html"
    result = run("people", photo, "-o", page)
    assert (result.exit_code, "is an image, and people are followed" in result.stderr) == (3, True)
    result = run("people", "rtsp://camera/1", "-o", page)
    assert (result.exit_code, "faceblur camera" in result.stderr) == (3, True)
    result = run("camera", "testpattern", "--to", "mjpeg:0", "--keep-visible", "1")
    assert (result.exit_code, "is for files, not for live cameras" in result.stderr) == (3, True)
    assert not page.exists()


def test_a_real_speaker_is_seen_nearly_throughout(
    shared: Path, bundled_server: str, tmp_path: Path
) -> None:
    source, page = shared / "media" / "asl_school.mkv", tmp_path / "people.html"
    result = run("people", source, "-o", page, "--server", bundled_server)
    assert result.exit_code == 0, result.output
    listed, output = page.with_suffix(".json"), tmp_path / "out.mkv"
    result = run("blur", source, "-o", output, "--boxes", listed, "--keep-visible", "1", *SOLID)
    said = re.search(r"track 1 unmasked in (\d+) of (\d+)", result.stdout)
    assert said is not None, result.output
    assert int(said[1]) >= 0.8 * int(said[2]) >= 50
