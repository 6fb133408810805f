"""Speech is told from readings of instruments, whatever the notation and the language."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from faceblur.video.subtitles import TrackTexts, holds_position, kind_of, plain_header, text_of

DJI = (
    "SrtCnt : 1, DiffTime : 33ms\n2023-05-01 12:33:21.123\n[iso : 100] [shutter : 1/640.0] "
    "[fnum : 280] [ev : 0] [latitude: 52.520008] [longitude: 13.404954] [altitude: 98.2]"
)
POSITIONS = [
    "52.52N 13.40E",
    "52.520008N 13.404954E 88 km/h 2024-05-01 12:00:00",
    "Lat N52.520008 Lon E13.404954",
    "$GPRMC,083559.00,A,4717.11437,N,00833.91522,E,0.004,77.52,091202,,,A*57",
    "GNGGA,083559.00,4717.11437,N,00833.91522,E,1,08,1.01,499.6,M,48.0,M,,*5B",
    "N:52.5 E:13.4",
    "N 52.5°, E 13.4°",
    "52.52, 13.40",
    "52,5200; 13,4050",
    "52.5200 13.4050",
    "(52.520, 13.405)",
    "-33.8568/151.2153",
    "52°31'12\"N 13°24'18\"E",
    "52° 31.2′ N 13° 24.3′ E",
    "52º31’ 13º24’",
    "52 31 12 N 13 24 18 E",
    "N52 31.200 E013 24.300",
    "52 deg 31 min, 13 deg 24 min",
    "52 degrees north, 13 degrees east",
    "GPS(2.2945,48.8584,15) D 5.2m H 4.1m H.S 1.2m/s V.S 0.1m/s",
    "F/2.8, SS 206.14, ISO 150, EV 0, GPS (2.2945, 48.8584, 15), D 5.2m, H 4.1m",
    "HOME(2.2945,48.8584) 2017.05.01 12:33:21",
    DJI,
    "GPS: [52.52, 13.40]",
    "GPS:52.52 13.40 Speed:12",
    "latitude 52.52 longitude 13.40",
    '{"lat":52.52,"lon":13.40}',
    '{"pos":[52,13]}',
    "speed=12;course=230",
    "+48.8583+002.2944/",
    "geo:52.52,13.40",
    "https://maps.google.com/?q=52.52,13.40",
    "33U 391779 5820070",
    "33UUU9177920070",
    "9F4MGC22+22",
    "///filled.count.soap",
    "filled.count.soap",
    "u33dc0wuzf",
    "JO62qm",
    "X: 0.12 Y: -0.98 Z: 9.81",
    "N5231.2E01324.3",
    "Breite 52,52 Länge 13,40",
    "北纬52.52度 东经13.40度",
    "북위 52.52 동경 13.40",
    "52.52° с. ш. 13.40° в. д.",
    "широта: 52,52 долгота: 13,40",
    "٥٢٫٥٢٠٠ ١٣٫٤٠٥٠",
    "５２.５２００，１３.４０５０",
    "52.\u200b5200, 13.\u200b4050",
    "2024-05-01 12:00:00",
    "88 km/h 230° 98 m 2024-05-01",
    "My place: 52.5200, 13.4050",
]

SPEECH = {
    "English": [
        "- Where were you at 9:30?\n- In room 12, with 3,000 others.",
        "I was born in 1984.",
        "It costs $12.50, not $13.99!",
        "JOHN: 20 minutes left.",
        "Turn 180 degrees and walk 5 miles north.",
        "It's 25°C outside, minus 3 in the shade.",
        "Flight 370 leaves from gate B22 at 6 a.m.",
        "Dial 911. No, call 555-0100!",
        "Pi is 3.14159, roughly.",
        "Home.",
        "R2D2!",
        "The B-52s played in the 1980s.",
        "OK.",
    ],
    "German": [
        "Um 9.30 Uhr, Zimmer 12!",
        "Das macht 12,50 Euro, bitte.",
        "Im Jahr 1848 lebten dort 12.500 Menschen.",
        "Sie ist 3,5 Meter lang und 1,20 Meter hoch.",
    ],
    "French": ["Il est né en 1789, le 14 juillet.", "Ça coûte 12,50 € les 2 kilos."],
    "Spanish": ["¿Dónde estabas a las 9:30?", "Son 1.500 pesos, ni uno más."],
    "Polish": ["Mieszkam pod numerem 12, na 3. piętrze.", "Było nas 40 milionów."],
    "Russian": ["В 1917 году мне было 20 лет.", "Это стоит 12,50 рубля."],
    "Greek": ["Γεννήθηκα το 1984 στην Αθήνα."],
    "Turkish": ["Saat 9.30'da buluşalım, 12 numarada."],
    "Arabic": ["ولدت في عام ١٩٨٤ في القاهرة", "أراك غدا في الساعة 9:30"],
    "Hebrew": ["נולדתי בשנת 1984 בתל אביב"],
    "Hindi": ["मेरा जन्म 1984 में हुआ था।", "मुझे 12 रुपये दो।"],
    "Thai": ["ฉันเกิดปี 1984 ที่กรุงเทพ"],
    "Chinese": ["我1984年出生。", "一共12块5。", "好"],
    "Japanese": ["1984年に生まれました。", "9時30分に会いましょう。"],
    "Korean": ["저는 1984년에 태어났어요.", "9시 30분에 만나요."],
    "Vietnamese": ["Tôi sinh năm 1984 ở Hà Nội."],
}


def track(texts: Sequence[str]) -> TrackTexts:
    found = TrackTexts()
    for text in texts:
        found.add(text)
    return found


@pytest.mark.parametrize("text", POSITIONS)
def test_no_notation_of_a_position_passes_for_speech(text: str) -> None:
    assert kind_of(text) == "data"
    assert not track([text, text]).is_speech
    # Neither alone in a track that is speech otherwise.
    spoken = track(["Hello", text, "See you tomorrow"])
    assert not spoken.keeps(text)
    assert spoken.is_speech
    assert spoken.keeps("Hello")


@pytest.mark.parametrize("language", SPEECH)
def test_speech_with_numbers_is_kept(language: str) -> None:
    texts = SPEECH[language]
    spoken = track(texts)
    assert [text for text in texts if kind_of(text) not in ("speech", "number")] == []
    assert spoken.is_speech
    assert all(spoken.keeps(text) for text in texts)


@pytest.mark.parametrize(
    "texts",
    [
        [f"Geschwindigkeit {n} km/h, Richtung {2 * n} Grad" for n in range(40, 50)],
        [f"We are now at kilometre {n} of the road" for n in range(9)],
        ["u33dc0", "u33dc1"],
        ["JO62QM58", "JO62QM59"],
        ["12:00:01", "12:00:02"],
        ["Battery low", *(f"{n}%" for n in range(9))],
        ["88 km/h"],
    ],
    ids=lambda texts: texts[0],
)
def test_texts_that_differ_only_in_their_numbers_are_no_speech(texts: list[str]) -> None:
    assert not track(texts).is_speech


def test_numbers_and_songs_belong_to_speech() -> None:
    texts = ["Count with me!", "3", "2", "1...", "♪ ♪", "Ready or not, here I come!", "Go!", "Run!"]
    spoken = track(texts)
    assert spoken.is_speech
    assert all(spoken.keeps(text) for text in texts)
    # But not where a position may be spread over several texts.
    assert not track(["Hello", "52.5200, 13.4050", "there", "you"]).keeps("52")


@pytest.mark.parametrize(
    ("packet", "codec", "text"),
    [
        (b"\0\x05Hello", "mov_text", "Hello"),
        (b"\0\x05Hello\0\0\0\x08styl", "mov_text", "Hello"),
        (b"\0\x05Hello\0\0\0\x0chlnk52.5", "mov_text", None),
        (b"\0\x05Hello52.52N 13.40E", "mov_text", None),
        (b"\0\x06\xfe\xff\0H\0i", "mov_text", "Hi"),
        (b"<i>Hello</i> <b>you</b>", "subrip", "Hello you"),
        (b'<font color="#123456">Hello</font>', "subrip", "Hello"),
        (b"Hello<!-- 52.5200 13.4050 -->", "subrip", "Hello<!-- 52.5200 13.4050 -->"),
        (b"Stra\xdfe", "subrip", "Straße"),
        (b"0,0,Default,,0,0,0,,{\\pos(12.5,13.5)}Hello, you\\Nthere", "ass", "Hello, you\nthere"),
        (b"0,0,Default,,0,0,0,,{52.5200 13.4050}Hi", "ass", "{52.5200 13.4050}Hi"),
        (b"0,0,Default,52.5N,0,0,0,,Hi", "ass", "52.5N\nHi"),
        (b"Hello", "ass", None),
        (b"Hello", "dvb_teletext", None),
    ],
)
def test_packets_are_read_with_what_players_do_not_show(
    packet: bytes, codec: str, text: str | None
) -> None:
    read = text_of(packet, codec)
    assert (read and re.sub(" +", " ", read)) == text


def test_the_header_of_styled_subtitles_says_nothing_of_its_author() -> None:
    header = b"""\xef\xbb\xbf[Script Info]
; secret note 52.52N 13.40E
Title: secret
Original Script: secret
ScriptType: v4.00+
PlayResX: 640

[Aegisub Project Garbage]
Audio File: /home/secret.wav

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Graphics]
filename: secret.jpg
!!!

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,secret
"""
    assert plain_header(header).decode() == (
        "[Script Info]\nScriptType: v4.00+\nPlayResX: 640\n\n[V4+ Styles]\n"
        "Format: Name, Fontname\nStyle: Default,Arial\n\n[Events]\n"
        "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    )


def test_titles_may_be_numbers_but_no_positions() -> None:
    assert not any(map(holds_position, ("", "1", "Chapter 12", "00:10:00", "The 39 Steps")))
    assert all(map(holds_position, ("52.52N 13.40E", "GPS(2.29, 48.85)", "2024-05-01 12:00:00")))
