"""The JSON file of what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from faceblur.atomic import atomic_path
from faceblur.detector import ModelInfo
from faceblur.policy import Policy
from faceblur.report import MediaReport


def write_findings(
    path: Path, model: ModelInfo, policy: Policy, reports: Sequence[MediaReport]
) -> None:
    """Write what was found, boxes in source pixels after orientation.

    Raises:
        OutputError: The file cannot be written.
    """
    findings = {
        "model": {
            "name": model.name,
            "sha256": model.sha256,
            "threshold": policy.threshold,
            "size": policy.size,
        },
        "media": [report.to_json() for report in reports],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(findings, indent=1) + "\n", encoding="utf-8")
