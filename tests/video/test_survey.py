"""Nothing goes along that is not to be heard, and no text that is not speech."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from media import Recording, pattern, record
from mp4_boxes import set_edits
from probing import FFMPEG_MISSING, decoded, probe

from faceblur.video.frames import SourceFrame
from faceblur.video.options import VideoOptions
from faceblur.video.sink import VideoSink
from faceblur.video.source import VideoSource
from faceblur.video.survey import survey_cuts

RATE = 48_000
SECRET_HZ, HEARD_HZ = 3000, 300
CUT_S = 0.75

Waves = npt.NDArray[np.float32]


def copy(source: Path, output: Path, options: VideoOptions | None = None) -> list[str]:
    """Read a video and write every frame as it is; what was left out."""
    with VideoSource(source) as video, VideoSink(output, video, options) as sink:
        for item in video.read():
            if isinstance(item, SourceFrame):
                sink.write(item)
            else:
                sink.copy(item)
        return list(sink.left_out)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Two seconds of video by name and audio codec: one tone, and after 0.75 s another."""
    if shutil.which("ffmpeg") is None:
        pytest.skip(FFMPEG_MISSING)
    folder = tmp_path_factory.mktemp("tones")

    def make(name: str, codec: str) -> Path:
        path = folder / f"{codec}{name}"
        if not path.exists():
            wave = f"0.5*sin(2*PI*if(lt(t,{CUT_S}),{SECRET_HZ},{HEARD_HZ})*t)"
            sound = f"aevalsrc='{wave}':d=2:s={RATE}"
            sources = ["-f", "lavfi", "-i", "testsrc=d=2:s=96x64:r=25", "-f", "lavfi", "-i", sound]
            how = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-c:a", codec]
            how += ["-strict", "-2", str(path)]
            subprocess.run(["ffmpeg", "-v", "error", *sources, *how], check=True, timeout=60)
        return path

    return make


def heard(path: Path, *, all_of_it: bool = False) -> Waves:
    """The audio as ffmpeg plays it, or all that is in the file."""
    hidden = ["-flags2", "+skip_manual"] if all_of_it else []
    if all_of_it and path.suffix != ".mkv":
        hidden += ["-ignore_editlist", "1"]
    line = [
        "ffmpeg",
        "-v",
        "error",
        "-copyts",
        *hidden,
        "-i",
        str(path),
        "-map",
        "0:a",
        "-f",
        "f32le",
    ]
    line += ["-ac", "1", "-ar", str(RATE)]
    line += ["-"] if all_of_it else ["-af", "atrim=start=0", "-"]
    done = subprocess.run(line, capture_output=True, check=True, timeout=60)
    return np.frombuffer(done.stdout, np.float32)


def loudness(waves: Waves, hertz: int) -> float:
    """Amplitude of one tone where it is loudest, in pieces of 20 ms."""
    piece = RATE // 50
    t = np.arange(piece) / RATE
    whole = waves[: len(waves) // piece * piece].reshape(-1, piece) * np.hanning(piece) * 2
    return float(np.abs(whole @ np.exp(-2j * np.pi * hertz * t)).max(initial=0) * 2 / piece)


@pytest.mark.parametrize(
    ("codec", "suffix", "target", "edits"),
    [
        ("aac", ".mp4", ".mp4", [(CUT_S, 1.2), (1.5, 1.9)]),
        ("aac", ".mp4", ".mkv", [(CUT_S, 1.8)]),
        ("pcm_s16le", ".mov", ".mov", [(CUT_S, 1.2), (1.5, 1.9)]),
    ],
)
def test_sound_that_was_cut_away_is_not_in_the_result(
    tones: Callable[[str, str], Path],
    tmp_path: Path,
    codec: str,
    suffix: str,
    target: str,
    edits: list[tuple[float, float]],
) -> None:
    source, output = tmp_path / f"source{suffix}", tmp_path / f"out{target}"
    source.write_bytes(tones(suffix, codec).read_bytes())
    # A track of AAC begins with a run-in of 1,024 samples.
    run_in = 1024 / RATE if codec == "aac" else 0
    set_edits(source, b"soun", [(begin + run_in, end + run_in) for begin, end in edits])
    assert loudness(heard(source, all_of_it=True), SECRET_HZ) > 0.3
    copy(source, output)
    assert loudness(heard(output, all_of_it=True), HEARD_HZ) > 0.3
    assert loudness(heard(output, all_of_it=True), SECRET_HZ) < 0.03
    # What ffmpeg plays of both is the same, from the same time on.
    before, after = heard(source), heard(output)
    assert abs(len(before) - len(after)) <= 2 * 1024
    # Matroska counts milliseconds, of which each of the two rounds one.
    lags = range(-RATE // 1000, RATE // 1000 + 1) if target == ".mkv" else [0]
    inner = slice(2048, min(len(before), len(after)) - 2048)
    same = [np.corrcoef(before[inner], np.roll(after, lag)[inner])[0, 1] for lag in lags]
    assert max(same) > 0.99


def test_a_run_in_is_copied_and_a_cut_is_noticed(
    tones: Callable[[str, str], Path], tmp_path: Path
) -> None:
    whole = tones(".mp4", "aac")
    assert survey_cuts(whole, [1]) == set()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes())
    set_edits(cut, b"soun", [(CUT_S, 1.8)])
    assert survey_cuts(cut, [1]) == {1}
    # One packet is no more than a run-in, but it sounds.
    set_edits(cut, b"soun", [(2048 / RATE, 1.8)])
    assert survey_cuts(cut, [1]) == {1}
    output = tmp_path / "out.mp4"
    copy(whole, output)
    with av.open(str(whole)) as a, av.open(str(output)) as b:
        assert [bytes(p) for p in a.demux(audio=0)] == [bytes(p) for p in b.demux(audio=0)]


def test_images_that_were_cut_away_are_not_in_the_result(
    tones: Callable[[str, str], Path], tmp_path: Path
) -> None:
    source, output = tmp_path / "source.mp4", tmp_path / "out.mp4"
    source.write_bytes(tones(".mp4", "aac").read_bytes())
    assert len(decoded(source)) == 50
    set_edits(source, b"vide", [(1.0, 1.8)])
    copy(source, output)
    line = ["ffprobe", "-v", "error", "-ignore_editlist", "1", "-select_streams", "v"]
    line += ["-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    count = subprocess.run([*line, str(output)], capture_output=True, check=True, timeout=60)
    assert int(count.stdout.split(b",")[0]) == len(decoded(source)) < 30


SPEECH = [(0.0, 0.3, "Where were you at 9:30?"), (0.4, 0.7, "In room 12."), (0.8, 1.1, "Alone?")]
READINGS = [(0.3 * n, 0.3 * n + 0.2, f"52.52{n}N 13.40{n}E 88 km/h") for n in range(4)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_text_track_is_kept_if_it_is_speech(tmp_path: Path, suffix: str) -> None:
    spoken, told = tmp_path / f"spoken{suffix}", tmp_path / f"told{suffix}"
    chapters = [(0.0, 0.8, "Chapter 1"), (0.8, 1.6, "52.52N 13.40E")]
    record(spoken, pattern(40), Recording(subtitles=SPEECH, chapters=chapters))
    record(told, pattern(40), Recording(subtitles=READINGS))
    output = tmp_path / f"out{suffix}"
    assert copy(spoken, output) == []
    assert b"room 12" in output.read_bytes()
    assert [c.get("tags", {}).get("title", "") for c in probe(output)["chapters"]] == [
        *("Chapter 1", "")
    ]
    assert b"13.40" not in output.read_bytes()
    (why,) = copy(told, output)
    assert why == "subtitles #1 left out, they do not look like speech"
    assert [stream["codec_type"] for stream in probe(output)["streams"]] == ["video"]
    assert b"13.40" not in output.read_bytes()
    assert copy(told, output, VideoOptions(keep_subtitles=True)) == []
    assert b"13.40" in output.read_bytes()


def test_nothing_beside_the_texts_says_more_than_they_do(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip(FFMPEG_MISSING)
    clip, captions, styled = (tmp_path / name for name in ("clip.mp4", "a.vtt", "b.ass"))
    record(clip, pattern(40), Recording())
    captions.write_text(
        "WEBVTT\n\n52.5200,13.4050\n00:00.000 --> 00:00.500\nHello, you\n\n"
        "2\n00:00.600 --> 00:00.900\nHow are you?\n\n3\n00:01.000 --> 00:01.200\nFine.\n"
    )
    styled.write_text(
        "[Script Info]\n; 52.5200,13.4050\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, "
        "End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        "Dialogue: 0,0:00:00.60,0:00:00.90,Default,,0,0,0,,How are you?\n"
    )
    for texts in (captions, styled):
        source, output = tmp_path / f"{texts.name}.mkv", tmp_path / "out.mkv"
        line = ["ffmpeg", "-v", "error", "-i", clip, "-i", texts, "-map", "0", "-map", "1"]
        subprocess.run([*line, "-c", "copy", source], check=True, timeout=60)
        assert b"13.4050" in source.read_bytes()
        copy(source, output)
        assert b"How are you?" in output.read_bytes()
        assert b"13.4050" not in output.read_bytes()


def test_closed_captions_in_the_images_stay_behind(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip(FFMPEG_MISSING)
    plain, stream, source, output = (tmp_path / n for n in ("a.mp4", "a.h264", "b.mp4", "out.mp4"))
    record(plain, pattern(5), Recording())
    ffmpeg = ["ffmpeg", "-v", "error", "-y"]
    to_stream = ["-c", "copy", "-bsf:v", "h264_mp4toannexb"]
    subprocess.run([*ffmpeg, "-i", plain, *to_stream, stream], check=True, timeout=60)
    # ATSC A/53, part 4: two pairs of bytes of CEA-608 in a message before each frame.
    pairs = b"\xfc\x94\x2c\xfc\xc8\xe5"
    message = b"\xb5\x00\x31GA94\x03\x42\xff" + pairs + b"\xff"
    unit = b"\0\0\0\1\x06\x04" + bytes([len(message)]) + message + b"\x80"
    images = re.compile(rb"\x00?\x00\x00\x01(?=[\x01\x21\x41\x61\x05\x25\x45\x65])")
    stream.write_bytes(images.sub(lambda found: unit + found[0], stream.read_bytes()))
    subprocess.run(
        [*ffmpeg, "-r", "25", "-i", stream, "-c", "copy", source], check=True, timeout=60
    )

    def captions(path: Path) -> bool:
        line = ["ffprobe", "-v", "error", "-show_frames", "-select_streams", "v", path]
        return b"Closed Captions" in subprocess.run(line, capture_output=True, check=True).stdout

    assert captions(source)
    assert copy(source, output) == ["closed captions left out, they cannot be read as text"]
    assert not captions(output)
    assert copy(source, output, VideoOptions(keep_subtitles=True)) == []
    assert captions(output)


def test_what_cannot_be_read_as_text_stays_behind(tmp_path: Path) -> None:
    source, output = tmp_path / "bitmaps.mkv", tmp_path / "out.mkv"
    with av.open(str(source), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height = 96, 64
        bitmaps: Any = file.add_mux_stream("dvd_subtitle")
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(pattern(5, width=96, height=64)[number], "bgr24")
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        packet = av.Packet(b"a bitmap of a text" * 4)
        packet.stream, packet.pts, packet.dts, packet.duration = bitmaps, 0, 0, 100
        packet.time_base = bitmaps.time_base
        file.mux(packet)
    (why,) = copy(source, output)
    assert why == "subtitles #1 left out, dvd_subtitle cannot be read as text"
    assert b"a bitmap" not in output.read_bytes()
    copy(source, output, VideoOptions(keep_subtitles=True))
    assert b"a bitmap" in output.read_bytes()
