"""The page that shows who is in a video: one file that asks for nothing from anywhere."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Final

from faceblur.batch.people import Person
from faceblur.files import atomic_path

_OWNER_ONLY: Final = 0o600

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.45 system-ui, sans-serif }
body { max-width: 76rem; margin: 0 auto; padding: 1rem }
.warning { background: #a4161a; color: #fff; padding: .8rem 1rem; border-radius: .4rem }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)) }
.card { border: 1px solid #8886; border-radius: .5rem; padding: .6rem; display: block }
.card:has(:checked) { outline: 3px solid #2a6fdb }
.card img { width: 100%; height: 13rem; object-fit: contain; background: #8882 }
.card b { font-size: 1.1rem } .card span { display: block; font-size: .9rem }
pre { background: #8882; padding: .7rem; overflow-x: auto; white-space: pre-wrap }
"""

_SCRIPT: Final = """
const boxes = [...document.querySelectorAll("input")];
const show = () => {
  const chosen = boxes.filter(box => box.checked).map(box => box.value).join(",") || "…";
  for (const out of document.querySelectorAll("[data-chosen]")) out.textContent = chosen;
};
boxes.forEach(box => box.addEventListener("change", show));
show();
"""


def write_page(path: Path, people: Sequence[Person], *, source: Path, listed: Path) -> None:
    """Write the page, for its owner's eyes alone.

    Args:
        path: Where it goes; it appears whole or not at all.
        people: The tracks of the video.
        source: The video.
        listed: The JSON file with the same tracks.

    Raises:
        OutputError: It cannot be written.
    """
    text = _page(people, source=source, listed=listed, name=path.name)
    with atomic_path(path, mode=_OWNER_ONLY) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _page(people: Sequence[Person], *, source: Path, listed: Path, name: str) -> str:
    shown = [person for person in people if person.view is not None]
    cards = "\n".join(map(_card, shown)) or "<p>No face is certain anywhere: all are masked.</p>"
    rest = [person.track.id for person in people if person.view is None]
    others = (
        f"<p>{len(rest)} more tracks are too short, too faint or too close to others to be told "
        f"apart. They are always masked: {_ranges(rest)}.</p>"
        if rest
        else ""
    )
    command = f"faceblur blur {shlex.quote(str(source))} --boxes {shlex.quote(str(listed))}"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>UNMASKED: the people in {escape(source.name)}</title>
<style>{_STYLE}</style>
<h1>The people in {escape(source.name)}</h1>
<p class="warning"><strong>This page shows unmasked faces.</strong> It is for the one who
decides who is masked. Do not pass it on. Nothing deletes it: when you have decided, delete
<b>{escape(name)}</b> yourself.</p>
<p>One person may have several cards: after somebody came close, after a cut, or when a face was
lost for a moment, nobody can be sure that it is the same one, so a new track begins. Tick all cards
of those you mean. Where it is not certain that it is them, they are masked all the same.</p>
<div class="cards">
{cards}
</div>
{others}
<h2>Then</h2>
<p>Mask everybody except those ticked:</p>
<pre>{escape(command)} --keep-visible <span data-chosen>…</span></pre>
<p>Mask only those ticked, and whoever may be them:</p>
<pre>{escape(command)} --only <span data-chosen>…</span></pre>
<script>{_SCRIPT}</script>
</html>
"""


def _card(person: Person) -> str:
    track, image = person.track, base64.b64encode(person.view or b"").decode()
    return f"""<label class="card">
<img alt="track {track.id}" src="data:image/jpeg;base64,{image}">
<b><input type="checkbox" value="{track.id}"> Track {track.id}</b>
<span>{_clock(person.first_s)} to {_clock(person.last_s)}, {track.frames} frames</span>
<span>certain for {person.unmasked_s:.1f} s, up to {track.largest_height:.0f} pixels high</span>
<span>seen here at {_clock(person.view_s)}</span>
</label>"""


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in few words, as --only takes them: thousands would fill the page."""
    texts = []
    for _, run in groupby(enumerate(numbers), lambda item: item[1] - item[0]):
        first, *_, last = [number for _, number in run] * 2
        texts.append(str(first) if first == last else f"{first}-{last}")
    return ", ".join(texts)


def _clock(time_s: float) -> str:
    minutes, seconds = divmod(time_s, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{seconds:05.2f}"
    return f"{hours}:{minutes:02}:{text}" if hours else f"{minutes}:{text}"
