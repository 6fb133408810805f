"""Texts of `cameras.yaml`, as they are read and as their mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from faceblur.live.config.config import FleetConfig, read_config
from faceblur.live.config.secrets import Secrets
from faceblur.live.config.yaml_tree import ConfigError

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "cameras.yaml"
PASSWORDS = {"DOOR_PASSWORD": "p@ss/word 1", "YARD_PASSWORD": "yard-secret"}
CAMERA = "cameras:\n  door:\n    source: testpattern\n    sinks: [window]\n"


def read(text: str, **environment: str) -> FleetConfig:
    return read_config(text, file="cameras.yaml", secrets=Secrets(environment))


def problems(text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **environment)
    head, *lines = str(caught.value).splitlines()
    if lines:
        assert head == f"cameras.yaml has {len(lines)} mistakes:"
    return lines or [head]
