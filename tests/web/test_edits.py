"""What somebody may want of a result, as JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from faceblur.detections import Detections, FrameDetections, MediaDetections, TrackSummary
from faceblur.errors import InputError
from faceblur.web.jobs.edits import Edits, read_corrections

TRACK = TrackSummary(id=7, first_s=0, last_s=1, frames=2, largest_height=9, best_frame=0)
FRAMES = [FrameDetections(i, Fraction(i, 8), Detections.empty()) for i in range(8)]
FOUND = MediaDetections(Path("clip.mp4"), 640, 360, FRAMES, tracks=[TRACK])

ASKED = {
    "kept": [7],
    "corrections": [
        {"keyframes": [{"at": "0:00.5", "box": [0.0, 0.5, 20.0, 30.0], "follow": True}]},
        {"keyframes": [{"at": "0:00", "box": [1.0, 1.0, 9.0, 9.0]}], "until": "0:00.25"},
        {"remove": {"track": 7}},
        {"remove": {"at": "0:00", "box": [0.0, 0.0, 9.0, 9.0]}},
    ],
}


def test_the_same_wishes_are_the_same_however_they_are_written() -> None:
    edits = Edits.read(json.dumps(ASKED).encode())
    edits.check(FOUND, chooses=True)
    assert edits.to_json() == ASKED
    other = json.dumps(ASKED).replace('"0:00.5"', "0.5").replace("20.0", "20")
    assert Edits.read(other.encode()) == edits
    assert len({edits, Edits.read(other.encode()), Edits.read(b"{}"), Edits()}) == 2
    saved = json.dumps({"corrections": ASKED["corrections"]}).encode()
    assert read_corrections(saved, FOUND) == edits.corrections


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("no", "the file is no JSON"),
        ("[" * 100_000, "the file is no JSON"),
        ("[]", "must be an object"),
        ("{}", "lacks 'corrections'"),
        ('{"corrections": [{"remov": 1}, 2, 3]}', "did you mean remove?"),
        ('{"corrections": [{"remove": {"track": 8}}]}', "correction 1 removes track 8"),
        ('{"corrections": [{}]}', "correction 1 needs keyframes, or remove"),
        ('{"corrections": [{"keyframes": [{"at": 9, "box": [0, 0, 9, 9]}]}]}', "is at 0:09"),
        ('{"corrections": [{"keyframes": [{"at": 0, "box": [9, 0, 9, 9]}]}]}', "the box ends"),
        ('{"corrections": [{"remove": {"at": "x", "box": [0, 0, 9, 9]}}]}', "seconds such as"),
        (
            '{"corrections": [{"keyframes": [{"at": 0, "box": [0, 0, 9, 9%s]}]}]}' % ("0" * 400),
            "number",
        ),
    ],
)
def test_what_is_unclear_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")) as refusal:
        read_corrections(text.encode(), FOUND)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("end", ["9" * 400, '"1e400"', '"1e999999999"', '"1/0"', "1e999"])
def test_a_time_that_no_number_holds_is_none(end: str) -> None:
    part = {"effect": "mute", "time": {"start_s": 0, "end_s": "END"}}
    text = json.dumps({"sound": {"muted": [part]}}).replace('"END"', end)
    with pytest.raises(InputError, match="a number of seconds"):
        Edits.read(text.encode())


def test_nobody_is_chosen_where_nobody_can_be() -> None:
    Edits(kept=frozenset({7})).check(FOUND, chooses=True)
    with pytest.raises(InputError, match="nobody can be chosen"):
        Edits(kept=frozenset({7})).check(FOUND, chooses=False)
    with pytest.raises(InputError, match="no such person"):
        Edits(kept=frozenset({8})).check(FOUND, chooses=True)
