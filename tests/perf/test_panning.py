"""The judge of `perf/run panning`: what counts as a covered face, and what as a mask on nothing."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.panning import HEIGHTS, Tally


def test_a_face_is_covered_when_nearly_all_of_it_is_masked() -> None:
    boxes = np.array([[100, 100, 120, 126], [300, 100, 320, 126], [10, 10, 14, 15]], np.float64)
    masked = np.zeros((400, 500), np.bool_)
    masked[98:128, 98:122] = True
    masked[98:118, 298:322] = True
    tally = Tally("way")
    tally.add(masked, boxes)
    group = HEIGHTS.index(24)
    # The last one is too small to count.
    assert sum(tally.faces) == tally.faces[group] == 2
    assert tally.covered[group] == 1
    assert tally.extra == 0
    masked[200:300, 200:250] = True
    tally.add(masked, boxes)
    assert tally.extra == pytest.approx(100 * 50 / masked.size)
