"""Encoders do not take the machine from everything else."""

from __future__ import annotations

import os
from pathlib import Path

from faceblur.video.encoders import objection


def test_no_encoder_makes_the_program_a_real_time_one() -> None:
    before = os.sched_getscheduler(0)
    assert objection("libsvtav1", (64, 64), "yuv420p") == ""
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {before}
