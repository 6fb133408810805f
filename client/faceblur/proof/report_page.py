"""The record of one result as a page for people: what was masked, how, and what the check found."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from faceblur.proof.audit.manifest import FileFacts, Manifest, TrackTally
from faceblur.proof.verify.report import Region, VerifyReport

_MOST_REGIONS: Final = 100
_MOST_TRACKS: Final = 200

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 52rem; margin: 0 auto; padding: 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: start; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8886 }
th[scope=row] { white-space: nowrap }
td { overflow-wrap: anywhere }
.verdict { padding: .8rem 1rem; border-radius: .4rem; border: 2px solid currentColor; font-weight: 600 }
summary { margin-block: 1rem; font-weight: 600; cursor: pointer }
pre { background: #8882; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere }
"""  # noqa: E501

_VERDICTS: Final = (
    "Checked: nothing in the result looks like a face that is not covered.",
    "Careful: something that may be a face is not covered. The places are listed below.",
    "It could not be checked completely. The reasons are listed below.",
)

_BUT_CHOSEN: Final = (
    "Checked: nothing in the result looks like a face that is not covered, but what somebody chose "
    "to leave as it was. That is listed below."
)


def report_page(manifest: Manifest, checked: VerifyReport) -> str:
    """The page, whole: it shows no image, and asks for nothing from anywhere.

    Args:
        manifest: What was done, from the audit.
        checked: What `verify` found in the result.

    Returns:
        HTML.
    """
    name = manifest.output.name
    is_chosen = checked.exit_code == 0 and checked.spared
    verdict = _BUT_CHOSEN if is_chosen else _VERDICTS[checked.exit_code]
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Report on {escape(name)}</title>
<style>{_STYLE}</style>
<h1>Report on <bdi>{escape(name)}</bdi></h1>
<p class="verdict">{escape(verdict)}</p>
<p>No image of anybody is in this report. It holds names of files, times and places of faces.</p>
<h2>What was made</h2>
{_table(_files(manifest))}
<h2>What was covered</h2>
{_table(_covered(manifest))}
{_tracks(manifest.tracks)}
<h2>What the check found</h2>
{_table(_check(checked))}
{_regions("Places that may show a face", checked.leaks)}
{_regions("Left as they were, as somebody chose", checked.spared)}
<details><summary>With which settings</summary>
{_table(_settings(manifest.settings))}
</details>
<details><summary>With which programs</summary>
{_table(_tools(manifest))}
</details>
<h2>How to check this report</h2>
<p>Unpack it. The folder <b>audit</b> holds the same facts and a line for each frame, chained by
their SHA-256, and <b>verify.json</b> all that the check found. With the original, the result is
checked again by:</p>
<pre>faceblur verify RESULT --source ORIGINAL --audit audit</pre>
<p>No program finds every face. A report says what was done and what was found; it does not say that
nobody can be recognised: clothes, voices and places tell who somebody is, too.</p>
</html>
"""


def _files(manifest: Manifest) -> Iterable[tuple[str, str]]:
    yield "Original", _file(manifest.source)
    yield "Result", _file(manifest.output)
    yield "Kind", f"{manifest.kind}, {manifest.width} × {manifest.height} pixels"
    yield "Begun", manifest.started.isoformat(sep=" ", timespec="seconds")
    yield "Ended", manifest.ended.isoformat(sep=" ", timespec="seconds")


def _file(file: FileFacts) -> str:
    size = "" if file.size_bytes is None else f", {file.size_bytes} bytes"
    return f"{file.name}{size}, SHA-256 {file.sha256}"


def _covered(manifest: Manifest) -> Iterable[tuple[str, str]]:
    frames = manifest.frames
    yield "Frames" if manifest.kind == "video" else "Images", str(frames.checked)
    yield "Of those with something covered", str(frames.with_faces)
    yield "Covered places in all of them", str(frames.faces)


def _tracks(tracks: Sequence[TrackTally]) -> str:
    if not tracks:
        return ""
    rows = [
        f"<tr><td>{each.id}</td><td>{each.masked}</td><td>{each.unmasked}</td></tr>"
        for each in tracks[:_MOST_TRACKS]
    ]
    more = len(tracks) - len(rows)
    rest = f"<p>And {more} more, in the folder audit.</p>" if more else ""
    return (
        "<table><tr><th>Face</th><th>Frames in which it is covered</th>"
        f"<th>Frames in which it is left visible, as somebody chose</th></tr>{''.join(rows)}"
        f"</table>{rest}"
    )


def _check(checked: VerifyReport) -> Iterable[tuple[str, str]]:
    yield "Frames looked through", str(checked.frames)
    yield "Places that were compared", str(checked.regions)
    yield "May show a face", str(len(checked.leaks))
    yield "Doubtful, seldom a face", str(len(checked.doubtful))
    yield "Too small or too plain to tell", str(checked.unjudged)
    yield "Frames too dark or too flat to tell", str(len(checked.dim))
    for problem in checked.problems:
        yield "Not complete", problem


def _regions(title: str, regions: Sequence[Region]) -> str:
    if not regions:
        return ""
    rows = "".join(f"<li>{escape(each.sentence())}</li>" for each in regions[:_MOST_REGIONS])
    more = len(regions) - _MOST_REGIONS
    rest = f"<p>And {more} more, in verify.json.</p>" if more > 0 else ""
    return f"<h3>{escape(title)}</h3><ul>{rows}</ul>{rest}"


def _settings(settings: Any, above: str = "") -> Iterable[tuple[str, str]]:
    """Settings in lines: those within others with their names before them."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _settings(value, f"{above}{name} ")
        else:
            yield f"{above}{name}".replace("_", " "), _said(value)


def _said(value: Any) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)


def _tools(manifest: Manifest) -> Iterable[tuple[str, str]]:
    model = manifest.model
    yield "Model", f"{model.name}, SHA-256 {model.sha256}"
    yield "Detector", manifest.detector
    yield "System", manifest.platform
    yield from manifest.tools.items()


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"
