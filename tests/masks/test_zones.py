"""Zones and time spans, as they are written on a command line and in JSON."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from faceblur.errors import InputError
from faceblur.masks.spans import Span
from faceblur.masks.zones import Length, Zone
from faceblur.schema.conversion import from_json, to_json
from faceblur.times import TimeSpan

seconds = st.one_of(
    st.decimals(0, 100_000, places=3).map(Fraction),
    st.builds(lambda n: Fraction(n * 1001, 30000), st.integers(0, 10**6)),
)
spans = st.builds(
    lambda start, length: TimeSpan(start, None if length is None else start + length),
    seconds,
    st.none() | seconds.filter(bool),
)
lengths = st.builds(Length, st.floats(-500, 5000).map(lambda v: round(v, 3)), st.booleans())


def again(value: Any) -> Any:
    """What comes back from JSON."""
    return from_json(json.loads(json.dumps(to_json(value))), type(value), "it")


@settings(deadline=None)
@given(spans, st.sampled_from(["hide", "spare"]))
def test_spans_survive_json_exactly(span: TimeSpan, effect: str) -> None:
    assert again(span) == span
    whole = Span(effect, span)
    assert again(whole) == whole


@settings(deadline=None)
@given(st.decimals(0, 100_000, places=3).map(Fraction), st.integers(1, 10**6))
def test_spans_are_read_as_they_are_written(start: Fraction, length_ms: int) -> None:
    for span in (TimeSpan(start, start + Fraction(length_ms, 1000)), TimeSpan(start)):
        assert TimeSpan.parse(str(span)) == span


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("5-10", 5, 10),
        ("0:05-0:10.5", 5, Fraction(21, 2)),
        ("1:02:03 - 2:00:00", 3723, 7200),
        ("90-2:00", 90, 120),
        ("1:00-", 60, None),
    ],
)
def test_times_may_be_given_in_several_ways(text: str, start: int, end: int | None) -> None:
    assert TimeSpan.parse(text) == TimeSpan(Fraction(start), None if end is None else Fraction(end))


@pytest.mark.parametrize("text", ["", "5", "10-5", "5-5", "-", "-5", "a-b", "1:2:3:4-5", "1e3-2e3"])
def test_what_is_no_time_span_is_an_error_that_shows_one(text: str) -> None:
    with pytest.raises(InputError, match=r"0:05-0:10\.5"):
        TimeSpan.parse(text)


@settings(deadline=None)
@given(spans, spans)
def test_spans_overlap_and_contain_by_their_times(a: TimeSpan, b: TimeSpan) -> None:
    far = Fraction(10**9)
    a_end, b_end = a.end_s or far, b.end_s or far
    assert a.overlaps(b) == (max(a.start_s, b.start_s) < min(a_end, b_end)) == b.overlaps(a)
    assert a.contains(b) == (a.start_s <= b.start_s and b_end <= a_end)
    assert a.contains(a)


def test_a_span_that_begins_where_another_ends_does_not_overlap_it() -> None:
    first, second = TimeSpan.parse("0-5"), TimeSpan.parse("5-10")
    assert not first.overlaps(second)
    assert not second.overlaps(first)


def lies_on_one_line(corners: list[tuple[Length, Length]]) -> bool:
    points = np.array([[x.value, y.value] for x, y in corners])
    return bool(np.linalg.matrix_rank(points - points[0], tol=1e-3) < 2)


@settings(deadline=None)
@given(
    st.lists(st.tuples(lengths, lengths), min_size=3, max_size=6),
    st.none() | st.just(TimeSpan.parse("0:01.5-0:02")),
)
def test_zones_survive_text_and_json(
    corners: list[tuple[Length, Length]], time: TimeSpan | None
) -> None:
    assume(not lies_on_one_line(corners))
    zone = Zone("never", tuple(corners), time)
    assert Zone.parse("never", str(zone)) == zone
    assert again(zone) == zone


def test_per_cent_are_of_the_width_and_of_the_height() -> None:
    zone = Zone.parse("always", "10%,0% 90%,0 90%,50px -5,20.5%")
    expected = [[192, 0], [1728, 0], [1728, 50], [-5, 221.4]]
    np.testing.assert_array_equal(zone.polygon(1920, 1080), expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "3 to 1000 corners, not 0"),
        ("0,0 5,5", "3 to 1000 corners, not 2"),
        ("0,0 5,5 9,9", "lie on one line"),
        ("1%,1% 2%,2% 7%,7%", "lie on one line"),
        ("0,0 5 9,9", "'5' is no corner"),
        ("0,0 5,x 9,9", "'x' is no place"),
        ("0,0 5,nan 9,9", "'nan' is no place"),
        ("0,0 5,9999999999 9,9", "cannot have a corner at"),
        ("0,0 5,0 9,9 @ 7", "is no time span"),
        ("0,0 5,0 9,9 @", "is no time span"),
    ],
)
def test_what_is_no_zone_is_an_error_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Zone.parse("always", text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "must be an object"),
        ({"kind": "always"}, "lacks 'corners'"),
        ({"kind": "sometimes", "corners": [[0, 0], [1, 0], [1, 1]]}, "always or never"),
        ({"kind": "always", "corners": [[0, 0], [1, 0], [1]]}, "must be two places"),
        ({"kind": "always", "corners": [[0, 0], [1, 0], [1, None]]}, "must be a number"),
        ({"kind": "always", "corners": [[0, 0], [1, 0], [1, True]]}, "must be a number"),
        ({"kind": "always", "corners": [[0, 0], [1, 0], [1, 1]], "tme": 3}, "no setting 'tme'"),
        (
            {"kind": "always", "corners": [[0, 0], [1, 0], [1, 1]], "time": {"start_s": "x"}},
            "must be a number of seconds",
        ),
    ],
)
def test_json_that_is_no_zone_is_an_error_that_says_why(value: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        from_json(value, Zone, "the zone")
