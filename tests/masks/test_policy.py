"""The policy in JSON, and what it selects in a frame."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceblur.detection.options import DetectionOptions
from faceblur.detections import Detections, FrameDetections
from faceblur.errors import InputError
from faceblur.masks.policy import Policy
from faceblur.masks.selection import Selection
from faceblur.masks.spans import Span
from faceblur.masks.style import MaskStyle
from faceblur.masks.zones import Zone
from faceblur.moving.options import MovingOptions
from faceblur.schema.conversion import from_json, to_json
from faceblur.times import TimeSpan
from faceblur.tracking import TrackingOptions

OTHER_SETTINGS: dict[str, list[Any]] = {
    "detection": [
        DetectionOptions(threshold=0.3),
        DetectionOptions(size=1280),
        DetectionOptions(tiles="off"),
    ],
    "mask": [
        MaskStyle(mode="solid"),
        MaskStyle(shape="box"),
        MaskStyle(expand=0.3),
        MaskStyle(cells=4),
        MaskStyle(feather=0.1),
        MaskStyle(color=(1, 2, 3)),
    ],
    "min_face": [12],
    "zones": [(Zone.parse("always", "0,0 9,0 9,9"),), (Zone.parse("never", "0,0 9,0 9,9"),)],
    "spans": [(Span("hide", TimeSpan.parse("1-2")),), (Span("spare", TimeSpan.parse("1-2")),)],
    "moving": [
        MovingOptions(mode="mask"),
        MovingOptions(hold_s=90),
        MovingOptions(face_hold_s=90),
        MovingOptions(contrast=20),
        MovingOptions(smallest=0.01),
        MovingOptions(margin=0.1),
        MovingOptions(shadows="leave"),
    ],
    "cover": [None, TrackingOptions(hold_s=1), TrackingOptions(track_threshold=0.05)],
}


def in_json(policy: Policy) -> Any:
    return json.loads(json.dumps(to_json(policy), allow_nan=False))


# In JSON


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Policy)])
def test_every_setting_is_in_the_json_and_comes_back(name: str) -> None:
    seen = [in_json(Policy())]
    for value in OTHER_SETTINGS[name]:
        policy = Policy(**{name: value})
        written = in_json(policy)
        assert in_json(from_json(written, Policy, "the policy")) == written
        assert written not in seen
        seen.append(written)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(MaskStyle)])
def test_every_setting_of_the_mask_is_in_the_json(name: str) -> None:
    assert MaskStyle.written_as.get(name, name) in to_json(Policy())["mask"]


def test_equal_policies_have_equal_json_however_numbers_are_written() -> None:
    a = Policy(min_face=20, mask=MaskStyle(expand=1, feather=0))
    b = Policy(min_face=20.0, mask=MaskStyle(expand=1.0, feather=0.0))
    assert json.dumps(to_json(a)) == json.dumps(to_json(b))


def test_what_is_left_out_has_its_default() -> None:
    assert in_json(from_json({}, Policy, "the policy")) == in_json(Policy())
    assert from_json({"cover": None}, Policy, "the policy").cover is None
    cover = from_json({"cover": {"hold_s": 2}}, Policy, "the policy").cover
    assert cover == TrackingOptions(hold_s=2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "must be an object"),
        ({"treshold": 0.3}, "no setting 'treshold'"),
        ({"threshold": "0.3"}, "must be a number"),
        ({"threshold": float("nan")}, "must be a number"),
        ({"threshold": True}, "must be a number"),
        ({"threshold": 2}, "between 0 and 1"),
        ({"size": 640.5}, "whole number"),
        ({"size": 1}, "64 to 8192"),
        ({"min_face": -1}, "0 or more"),
        ({"zones": {}}, "must be a list"),
        (
            {"mask": {"mode": "mosaic"}},
            "must be veil, .* or image, not 'mosaic'",
        ),
        ({"mask": {"colour": [0, 0]}}, "must be a list of 3"),
        (
            {"mask": {"colour": [0, 0, 0.5]}},
            r"color\[2\] in the mask of the policy must be a whole",
        ),
        ({"mask": {"blur": 1}}, "no setting 'blur'"),
        ({"cover": {"hold": 1}}, "no setting 'hold'"),
        ({"cover": {"hold_s": -1}}, "cannot be -1 seconds"),
    ],
)
def test_json_that_makes_no_sense_is_an_error_that_says_why(value: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        from_json(value, Policy, "the policy")


def test_the_color_of_a_mask_is_read_by_either_name_and_written_as_ever() -> None:
    style = MaskStyle(mode="solid", color=(1, 2, 3))
    assert to_json(style)["colour"] == [1, 2, 3]
    assert "color" not in to_json(style)
    for name in ("colour", "color"):
        assert from_json({name: [1, 2, 3]}, MaskStyle, "the mask").color == (1, 2, 3)


def test_an_overlay_is_known_by_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "sticker.png"
    cv2.imwrite(str(file), np.zeros((8, 8, 3), np.uint8))
    policy = Policy(mask=MaskStyle(mode="image", image=file))
    written = in_json(policy)
    assert in_json(from_json(written, Policy, "the policy")) == written
    cv2.imwrite(str(file), np.ones((8, 8, 3), np.uint8))
    # What was read counts, whatever became of the file: the policy still draws that.
    assert in_json(policy) == written
    assert in_json(Policy(mask=MaskStyle(mode="image", image=file))) != written
    with pytest.raises(InputError, match="it has changed"):
        from_json(written, Policy, "the policy")
    file.unlink()
    with pytest.raises(InputError, match=r"there is no file .*sticker\.png"):
        from_json(written, Policy, "the policy")


def test_an_overlay_that_was_no_file_cannot_be_found_again() -> None:
    black, white = (
        in_json(Policy(mask=MaskStyle(mode="image", image=np.full((4, 4, 3), value, np.uint8))))
        for value in (0, 255)
    )
    assert black != white
    with pytest.raises(InputError, match="was no file"):
        from_json(black, Policy, "the policy")


# What is selected

WIDTH, HEIGHT = 200, 100
LEFT = "0,0 100,0 100,100 0,100"


def faces(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections.from_rows([[*box, 0.9, *[0] * 10] for box in boxes])


def chosen(
    policy: Policy, *boxes: tuple[float, float, float, float], shown: str | None = None
) -> tuple[int, int]:
    """How many faces and areas are masked."""
    time = None if shown is None else TimeSpan.parse(shown)
    choice = Selection(policy, WIDTH, HEIGHT).choose(faces(*boxes), time)
    return len(choice.faces), len(choice.areas)


def zones(*found: tuple[str, str]) -> Policy:
    return Policy(zones=tuple(Zone.parse(kind, text) for kind, text in found))  # type: ignore[arg-type]


def spans(*found: tuple[str, str]) -> Policy:
    return Policy(spans=tuple(Span(e, TimeSpan.parse(t)) for e, t in found))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("box", "masked"),
    [
        ((20, 20, 60, 60), 0),  # wholly inside
        ((120, 20, 160, 60), 1),  # outside
        ((80, 20, 120, 60), 1),  # half
        ((55, 20, 95, 60), 1),  # inside, but the mask around it reaches over the edge
        ((0, -20, 40, 20), 0),  # what is outside the image cannot be seen
    ],
)
def test_a_face_is_left_alone_only_if_all_of_its_mask_is_in_a_never_zone(
    box: tuple[float, float, float, float], masked: int
) -> None:
    assert chosen(zones(("never", LEFT)), box) == (masked, 0)


def test_two_never_zones_side_by_side_are_not_one() -> None:
    right = "100,0 200,0 200,100 100,100"
    assert chosen(zones(("never", LEFT), ("never", right)), (80, 20, 120, 60)) == (1, 0)


def test_where_zones_overlap_always_counts() -> None:
    assert chosen(zones(("never", LEFT), ("always", LEFT)), (20, 20, 60, 60)) == (0, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(st.floats(-50, 200), st.floats(-50, 100), st.floats(1, 99), st.floats(1, 99)),
    st.floats(0, 1),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 100)), min_size=3, max_size=5),
)
def test_a_spared_face_shows_nothing_outside_its_zone(
    place: tuple[float, float, float, float], expand: float, corners: list[tuple[int, int]]
) -> None:
    text = " ".join(f"{x},{y}" for x, y in corners)
    try:
        zone = Zone.parse("never", text)
    except InputError:
        return  # On one line.
    x, y, width, height = place
    policy = Policy(mask=MaskStyle(expand=expand), zones=(zone,))
    if chosen(policy, (x, y, x + width, y + height)) == (0, 0):
        inside = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.fillPoly(inside, [np.array(corners, np.int32)], 1)
        x0, y0 = max(round(x + 1), 0), max(round(y + 1), 0)
        y1, x1 = max(int(y + height - 1), 0), max(int(x + width - 1), 0)
        assert inside[y0:y1, x0:x1].all()


@pytest.mark.parametrize("box", [(20, 60, 60, 20), (60, 20, 20, 60), (20, math.nan, 60, 60)])
def test_a_box_that_makes_no_sense_is_never_left_alone(box: tuple[float, ...]) -> None:
    policy = dataclasses.replace(
        zones(("never", LEFT)), min_face=10, spans=spans(("spare", "0-")).spans
    )
    assert chosen(policy, box, shown="1-2") == (1, 0)  # type: ignore[arg-type]


def test_small_faces_are_left_alone_only_if_asked_for() -> None:
    boxes = ((0, 0, 30, 19.9), (0, 0, 5, 20), (0, 0, 2, 2))
    assert chosen(Policy(), *boxes) == (3, 0)
    assert chosen(Policy(min_face=20), *boxes) == (1, 0)


@pytest.mark.parametrize(
    ("shown", "hidden", "spared"),
    [
        ("4.9-5", False, False),
        ("4.9-5.001", True, False),  # still shown when the span begins
        ("5-5.04", True, True),
        ("9.96-10", True, True),
        ("9.96-10.001", True, False),  # still shown when it is over
        ("10-10.04", False, False),
        ("0-60", True, False),
        (None, False, False),
    ],
)
def test_time_spans_hold_to_the_frame(shown: str | None, hidden: bool, spared: bool) -> None:
    box = (20.0, 20.0, 60.0, 60.0)
    assert chosen(spans(("hide", "5-10")), box, shown=shown) == (1, hidden)
    assert chosen(spans(("spare", "5-10")), box, shown=shown) == (not spared, 0)
    assert chosen(zones(("always", f"{LEFT} @ 5-10")), box, shown=shown) == (1, hidden)
    assert chosen(zones(("never", f"{LEFT} @ 5-10")), box, shown=shown) == (not spared, 0)


def test_hiding_and_always_zones_count_while_faces_are_spared() -> None:
    policy = dataclasses.replace(spans(("hide", "1-2"), ("spare", "0-9")), zones=(
        Zone.parse("always", LEFT),
    ))  # fmt: skip
    assert chosen(policy, (20, 20, 60, 60), shown="1-1.1") == (0, 2)
    assert chosen(policy, (20, 20, 60, 60), shown="5-5.1") == (0, 1)


def test_a_hidden_frame_is_covered_to_its_edges() -> None:
    choice = Selection(spans(("hide", "0-1")), WIDTH, HEIGHT).choose(
        Detections.empty(), TimeSpan(Fraction(0))
    )
    (area,) = choice.areas
    assert (area.x0, area.y0, area.x1, area.y1, area.pixels) == (0, 0, WIDTH, HEIGHT, None)


def test_a_zone_outside_the_image_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Selection(zones(("always", "300,0 400,0 400,9")), WIDTH, HEIGHT)
    assert "the zone 300,0 400,0 400,9 lies outside the image, 200×100" in caplog.text


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 4000, width=32), min_size=14, max_size=14))
def test_what_is_masked_is_exactly_what_is_reported(numbers: list[float]) -> None:
    x, y, width, height = numbers[:4]
    found = Detections.from_rows([[x, y, x + width, y + height, 0.5, *numbers[4:]]])
    choice = Selection(Policy(), 4000, 4000).choose(found)
    written = json.loads(json.dumps(FrameDetections(0, 0, choice.faces).to_json()))["faces"][0]
    np.testing.assert_array_equal(np.float32(written["box"]), choice.faces.boxes[0])
    np.testing.assert_array_equal(np.float32(written["landmarks"]), choice.faces.landmarks[0])
    assert np.abs(choice.faces.boxes - found.boxes).max() < 0.006
