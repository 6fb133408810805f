"""Tell speech from readings of instruments in the text tracks of videos.

Drones, dashcams and phones write where they are, how fast and when into subtitles, in more
notations than anybody could list. So the question is not "is this a position?" but "is this
speech?": a track that does not look like it is left out as a whole. In one that does, what has the
form of a position or of readings is left out text by text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["speech", "number", "data", "blank"]

READABLE: Final = frozenset(("mov_text", "subrip", "srt", "text", "webvtt", "ass", "ssa"))
"""FFmpeg's names of the codecs whose packets can be read; all others are not speech."""

_MAX_DATA: Final = 1 / 3
"""Part of a track's texts that may be data for the rest to be believed."""

_IDEOGRAPHS: Final = 0x2E80
"""From here on a character is a syllable or a word."""

_MAX_TEMPLATES: Final = 4096
_SAME_FORM: Final = 3
"""So many texts that differ only in their numbers come from an instrument."""

_HARMLESS_BOXES: Final = frozenset((b"styl", b"hlit", b"hclr", b"krok", b"dlay", b"blnk", b"twrp"))
"""What may follow a text in MP4; links and the like could say anything."""

_HEADER_KEYS: Final = {
    "[script info]": (
        *("scripttype", "playresx", "playresy", "layoutresx", "layoutresy", "wrapstyle", "timer"),
        *("collisions", "scaledborderandshadow", "ycbcr matrix"),
    ),
    "[events]": ("format",),
}
_STYLE_KEYS: Final = ("format", "style")

_ALIKE: Final = str.maketrans("º˚′’‘´″”“−–٫", "°°''''\"\"\"--.")

_READINGS: Final = frozenset(
    re.findall(
        r"\w+",
        """
    km m cm mm mi ft kmh kph mph kn kt kts knots h hr s sec ms min deg degrees n s e w o ne nw se
    sw nne ene ese sse ssw wsw wnw nnw lat lon lng long latitude longitude latitud longitud alt
    altitude elevation ele gps gnss utc gmt cet am pm hdop vdop pdop sat sats satellites speed spd
    course heading hdg bearing track fix date time home iso ev wb ct fnum shutter fps frame frames
    framecnt srtcnt difftime focal len zoom acc gyro accel pitch roll yaw mag volt rpm hz khz mhz
    mon tue wed thu fri sat sun jan feb mar apr may jun jul aug sep oct nov dec
    января февраля марта апреля мая июня июля августа сентября октября ноября декабря км ч
    """,
    )
)
"""Words that stand beside readings; no speech is made of them alone."""

_EDGE: Final = r"(?<![^\W\d_])(?<!')"
_END: Final = r"(?![^\W\d_])"
_DECIMAL: Final = r"[-+]?\d{1,3}[.,]\d{2,}"
_DEGREES: Final = r"\d\s*(?:°|度|도|(?:deg|grad|град)\w*)"

_NORTH: Final = re.compile(
    rf"(?i){_EDGE}(?:[ns]|north|south|nord|s[uü]d|norte|sur)\s*[:=]?\s*[-+]?\d"
    rf"|\d[°'\"]*\s*(?:degrees?\s+|grad\s+)?(?:[ns]|north|south|nord|s[uü]d|norte|sur){_END}"
)
_EAST: Final = re.compile(
    rf"(?i){_EDGE}(?:[ewo]|east|west|ost|est|ouest|este|oeste)\s*[:=]?\s*[-+]?\d"
    rf"|\d[°'\"]*\s*(?:degrees?\s+|grad\s+)?(?:[ewo]|east|west|ost|est|ouest|este|oeste){_END}"
)

_POSITION: Final = re.compile(
    "|".join(
        (
            # Named: GPS(…), latitude: …, in some languages.
            rf"(?i:{_EDGE}(?:gps|home|gnss)\s*[(:=\[])",
            rf"(?i:{_EDGE}(?:lat|lon|lng|latitude|longitude|latitud|longitud)[\"']?\s*[:=(\[]*"
            r"[\s\"']*[-+NSEW]?\s*\d)",
            r"(?i:(?:breitengrad|l[äa]ngengrad|широт\w*|долгот\w*)\W{0,4}\d)",
            r"(?:[北南]\s*[纬緯]|[东東西]\s*[经經経]|[纬緯]度|[经經経]度|위도|경도|북위|동경)\W{0,4}\d",
            # A letter of the compass at a number with decimals or degrees.
            rf"{_EDGE}[NSEWns]\s*[:=]?\s*\d{{1,3}}(?:[.,]\d{{2,}}|\s?°)",
            rf"\d{{1,3}}(?:[.,]\d{{2,}}|°[\d'\". ]*)\s*[NSEW]{_END}",
            # Degrees and minutes.
            rf"(?i:{_DEGREES}\s*\d{{1,2}}(?:[.,]\d+)?\s*(?:'|分|분|(?:min|мин)\w*))",
            # Sentences of receivers, and of transponders.
            r"\$[A-Z]{4,6},|(?<![A-Z])G[PNLABQ][A-Z]{3},|![A-Z]{5},",
            # Addresses of maps.
            r"(?i:geo:-?\d|maps?\.[a-z]|openstreetmap|plus\.codes|///\w|[?&](?:q|ll|m?lat|mlon)=)",
            # ISO 6709, and pairs with three decimals or more.
            r"[+-]\d{2,6}\.\d+[+-]\d{2,7}\.\d+",
            rf"[-+]?\d{{1,3}}[.,]\d{{3,}}\s*[,;/|\s]\s*{_DECIMAL}(?:.*\d)?\s*[,;/|)\]]?\s*$",
            r"[-+]?\d{1,3}[.,]\d{4,}\D+\d{1,3}[.,]\d{4,}",
            # Grids: UTM, MGRS, open location codes.
            r"(?<!\w)\d{1,2}[C-HJ-NP-X]\s?[A-Z]{0,2}\s?\d{4,}\s?\d{4,}(?!\w)",
            r"(?<!\w)[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}(?!\w)",
            # Three words, and names of fields of a grid.
            r"(?<![\w.])[a-z]{3,}\.[a-z]{3,}\.[a-z]{3,}(?![\w.])",
            r"(?i:breite\W{0,3}\d{1,2}[.,]\d.*l[äa]nge\W{0,3}\d)",
            # Written by programs.
            r"[{\[]\s*\"|[^\W\d_]\s*=\s*[-+]?\d|(?<![\w.@])(?=\S*\d)(?=\S*[A-Za-z])[\w+/=]{20,}",
        )
    )
)
_CODE: Final = re.compile(r"(?<!\w)(?=\w*[^\W\d]\d)\w{6,}")
"""A letter before a digit in a long word, such as a geohash or a locator."""

_PAIR: Final = re.compile(rf"{_DECIMAL}\s*[,;/|\s]\s*{_DECIMAL}")
_LABELLED: Final = re.compile(r"[^\W\d][^\W\d]*\"?\s*:\s*\"?[-+]?\d")

_TAG: Final = re.compile(
    r"(?i)</?(?:b|i|u|s|c|font|ruby|rt|lang|span)(?:[.\s][^<>]*)?>|</v>|<v\b|<\d[\d:.]*>"
    r"|\{\\[^{}]*\}"
)
_DRAWING: Final = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}.*?(?:\{[^{}]*\\p0[^{}]*\}|$)", re.DOTALL)


def text_of(packet: bytes, codec: str) -> str | None:
    """What a packet of a text track says, without marks of style; None if it cannot be read."""
    if codec == "mov_text":
        return _text_of_mp4(packet)
    if codec not in READABLE:
        return None
    text = _decode(packet)
    if codec in ("ass", "ssa"):
        fields = text.split(",", 8)
        if len(fields) < 9:
            return None
        # The fourth is who speaks, the one before the last an effect.
        who, effect, said = fields[3], fields[7], fields[8]
        said = _DRAWING.sub("", said).replace(r"\N", "\n").replace(r"\n", "\n").replace(r"\h", " ")
        text = "\n".join(part for part in (who, effect, said) if part)
    return _TAG.sub(" ", text).strip()


def plain_header(header: bytes) -> bytes:
    """What players need of the header of ASS subtitles: no titles, names, comments, images."""
    kept: list[str] = []
    section = ""
    for line in map(str.strip, _decode(header).splitlines()):
        key = line.partition(":")[0].strip().lower()
        if line.startswith("["):
            section = line.lower()
            if section == "[script info]" or section.endswith("styles]") or section == "[events]":
                kept += ["", line]
        elif key in _HEADER_KEYS.get(section, _STYLE_KEYS if section.endswith("styles]") else ()):
            kept.append(line)
    return "\n".join([*kept, ""]).lstrip().encode()


def kind_of(text: str) -> Kind:
    """Say what a text is, taken by itself.

    Returns:
        "data" for positions and readings, "speech" for words, "number" for what has too few words
        beside its digits to tell, "blank" for neither words nor digits, such as music notes.
    """
    text = _plain(text)
    words, digits = _letters(text), sum(character.isdigit() for character in text)
    if _POSITION.search(text) or (_NORTH.search(text) and _EAST.search(text)):
        return "data"
    if not digits:
        return "speech" if any(map(str.isalpha, text)) else "blank"
    wordy = words >= digits
    decimals = len(re.findall(r"\d[.,]\d+", text))
    readings = len(_LABELLED.findall(text))
    if not wordy and (
        (not words and _CODE.search(text))
        or decimals >= 2
        or re.search(r"\d[.,]\d{4,}", text)
        or _PAIR.search(text)
        or digits >= max(9, 3 * words)
    ):
        return "data"
    if readings >= 2 and words <= 3 * digits:
        return "data"
    return "speech" if wordy and words >= 2 else "number"


@dataclass(eq=False)
class TrackTexts:
    """What the texts of one track are like, as far as they were added."""

    count: Counter[Kind] = field(default_factory=Counter)
    _forms: Counter[str] = field(default_factory=Counter)

    def add(self, text: str | None) -> None:
        """Add a text; None for one that cannot be read."""
        if text is None:
            self.count["data"] += 1
            return
        self.count[kind_of(text)] += 1
        form = re.sub(r"\d+", "0", _plain(text))
        if "0" in form and (form in self._forms or len(self._forms) < _MAX_TEMPLATES):
            self._forms[form] += 1

    @property
    def is_speech(self) -> bool:
        """Whether the track looks like speech, so that its texts may be kept one by one."""
        said = self.count["speech"]
        told = said + self.count["number"] + self.count["data"]
        same = sum(n for n in self._forms.values() if n >= _SAME_FORM)
        return 2 * said >= told and self.count["data"] <= _MAX_DATA * told >= same

    def keeps(self, text: str | None) -> bool:
        """Whether a text of a track that is speech may be kept.

        Where some of its texts are data, what is hardly more than a number may be a part of them.
        """
        if text is None:
            return False
        kind = kind_of(text)
        return kind != "data" and (kind != "number" or not self.count["data"])


def holds_position(text: str) -> bool:
    """Whether a title looks like a position or like readings."""
    return kind_of(text) == "data"


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _text_of_mp4(packet: bytes) -> str | None:
    """3GPP TS 26.245: a length, the text, and boxes that say how it looks."""
    length = int.from_bytes(packet[:2], "big")
    said, position = packet[2 : 2 + length], 2 + length
    while position < len(packet):
        size, kind = int.from_bytes(packet[position : position + 4], "big"), packet[position + 4 :]
        if size < 8 or position + size > len(packet) or kind[:4] not in _HARMLESS_BOXES:
            return None
        position += size
    if said[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return said.decode("utf-16", errors="replace").strip()
    return _TAG.sub(" ", _decode(said)).strip()


def _plain(text: str) -> str:
    """One way to write each character: digits of all scripts, full width, marks nobody sees."""
    text = unicodedata.normalize("NFKC", text.translate(_ALIKE))
    return "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in text
        if unicodedata.category(character) != "Cf"
    )


def _letters(text: str) -> int:
    """Letters in words that are no units, names of readings or parts of codes."""
    total = 0
    joined = "".join(c if c.isalnum() else _gap(c) for c in text)
    for token in joined.split():
        if any(character.isdigit() for character in token):
            # Scripts without spaces write numbers into their words.
            total += sum(map(_weight, filter(str.isalpha, token)))
        elif token.lower() not in _READINGS and (len(token) > 1 or not token.isascii()):
            total += sum(max(1, _weight(character)) for character in token)
    return total


def _weight(character: str) -> int:
    """How many letters one of another script is worth; none at all for ASCII's."""
    if character.isascii():
        return 0
    return 2 if ord(character) >= _IDEOGRAPHS else 1


def _gap(character: str) -> str:
    """Vowels that are marks, as in Devanagari and Thai, and apostrophes end no word."""
    return "" if character == "'" or unicodedata.category(character).startswith("M") else " "
