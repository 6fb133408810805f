"""The JSON file of what was found, which `faceblur.replay` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from faceblur.atomic import atomic_path
from faceblur.detector import ModelInfo
from faceblur.digests import file_sha256
from faceblur.errors import InputError
from faceblur.policy import Policy
from faceblur.report import MediaReport

VERSION: Final = 1
"""Of the format; readers refuse any other."""


def write_findings(
    path: Path, model: ModelInfo | None, policy: Policy, reports: Sequence[MediaReport]
) -> None:
    """Write what was masked, boxes in source pixels after orientation.

    Args:
        path: The file to write.
        model: What found the faces; None if that is not known.
        policy: What was masked and how.
        reports: Of each file.

    Raises:
        InputError: A source has gone meanwhile.
        OutputError: The file cannot be written.
    """
    findings = {
        "version": VERSION,
        "model": model
        and {
            "name": model.name,
            "sha256": model.sha256,
            "threshold": policy.threshold,
            "size": policy.size,
        },
        "policy": policy.to_json(),
        "media": [_entry(report) for report in reports],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")


def _entry(report: MediaReport) -> dict[str, Any]:
    """A file in JSON, with the hash of its content: the faces are of no other."""
    try:
        sha256 = file_sha256(report.path)
    except OSError as error:
        raise InputError(f"cannot read {report.path} again: {error.strerror}") from error
    entry = report.to_json()
    return {"path": entry.pop("path"), "sha256": sha256, **entry}
