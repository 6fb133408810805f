"""Videos that are made once, and a device in place that the CPU stands in for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import media
import numpy as np
import pytest
from copies import SOURCES
from stand_in_device import CLIPS, FRAMES, StandIn

from faceblur.video.hardware import decoder, files
from faceblur.video.hardware.choice import Chosen


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Sources by name, each made once."""
    paths: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in paths:
            paths[name] = SOURCES[name](tmp_path_factory.mktemp("source"))
        return paths[name]

    return get


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (64, 96, 3), np.uint8)
    images = [np.roll(image, 2 * i, axis=1) for i in range(FRAMES)]
    made = {}
    for name, recording in CLIPS.items():
        made[name] = folder / f"{name}.mkv"
        media.record(made[name], images, recording)
    return made


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a device in place that the CPU stands in for."""
    monkeypatch.setattr(decoder, "_said", set())

    def put(**how: Any) -> None:
        def open_context(device: str, path: Path, stream: Any) -> tuple[StandIn, Any]:
            container = av.open(str(path))
            context = container.streams[stream.index].codec_context
            assert context is not None
            context.thread_count = 1
            return StandIn(context, **how), container

        monkeypatch.setattr(files, "open_context", open_context)
        monkeypatch.setattr(files, "choose_decoder", lambda *_: Chosen("cuda", "in a test"))

    return put
