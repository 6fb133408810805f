"""Short videos without loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from media import Box, Recording, moving_face_video, pattern, record


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mkv"
    record(path, pattern(30), Recording(encoder="ffv1", options={}))
    return path


@pytest.fixture
def face(tmp_path: Path) -> tuple[Path, list[Box]]:
    path = tmp_path / "face.mkv"
    how = Recording(encoder="ffv1", options={})
    return path, moving_face_video(path, frames=12, width=320, height=180, recording=how)
