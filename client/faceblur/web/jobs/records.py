"""The record of a result, for whoever has to show what was done.

A folder beside the result, made with it: the audit, what the check found, and a page that people
can read. No image of anybody is in it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from faceblur.proof.audit.log import LOCK, AuditLog
from faceblur.proof.audit.reader import environment_key, read_audit
from faceblur.proof.report_page import report_page
from faceblur.proof.verify.report import VerifyReport


def begin_audit(record: Path) -> AuditLog:
    """Begin the audit of a result.

    Args:
        record: Where its record goes; made.

    Raises:
        OutputError: It cannot be written.
    """
    return AuditLog(record / "audit", key=environment_key())


def write_record(record: Path, checked: VerifyReport) -> None:
    """Complete the record of a result that was checked.

    Args:
        record: Holds its audit.
        checked: What the check found.

    Raises:
        AuditError: The audit does not hold.
        OutputError: It cannot be written.
    """
    audit = read_audit(record / "audit", key=environment_key())
    entry = audit.entries[-1]
    # Names that its user knows, and no folder of this machine.
    named = dataclasses.replace(
        checked,
        output=Path(entry.manifest.output.name),
        source=Path(entry.manifest.source.name),
        audit=None if checked.audit is None else f"audit/{entry.path.name}",
    )
    named.write(record / "verify.json")
    (record / "report.html").write_text(report_page(entry.manifest, named), encoding="utf-8")
    (audit.folder / LOCK).unlink(missing_ok=True)
