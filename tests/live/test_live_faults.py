"""Whatever fails, no picture with a face reaches a viewer, and the camera recovers by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faceblur.live.testpattern import TestPattern
from rig.clips import PORTRAIT
from rig.faults import FAULTS, Fault
from rig.judge import LIKENESS, Judge
from rig.trial import SIZE, Trial, trial


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A camera on a face, published over RTSP, and its viewer."""
    with trial(tmp_path_factory.mktemp("trial")) as running:
        yield running


IN_THE_MATRIX_ALONE = (
    "reply without its face count",
    "reply is no message",
    "server answers with an error",
    "network silent",
    "server process stopped",
)
"""Much like others; the fault matrix tries them too, and there is only so much time here."""


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if fault.name not in IN_THE_MATRIX_ALONE],
    ids=lambda fault: fault.name,
)
def test_no_face_is_shown_and_it_recovers(door: Trial, fault: Fault) -> None:
    result = door.run(fault, hold_s=0.3)
    assert result.faces == 0
    assert 0 < result.withheld < result.pictures


def test_the_viewer_never_saw_a_face(door: Trial) -> None:
    judge = Judge(SIZE[1], detect=False)
    verdicts = [judge(seen.picture) for seen in door.viewer.seen()]
    assert len(verdicts) > 100
    assert sum(verdict.face for verdict in verdicts) == 0


def test_the_judge_sees_a_face_that_is_not_masked() -> None:
    judge, pattern = Judge(SIZE[1]), TestPattern(SIZE, face=PORTRAIT)
    verdicts = [judge(pattern.image(second).to_ndarray(format="bgr24")) for second in range(8)]
    assert all(verdict.face for verdict in verdicts)
    assert min(verdict.likeness for verdict in verdicts) > LIKENESS + 0.15
