"""Single frames of a video by their place: those that reading from the start gives, and quicker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import av
import numpy as np
import pytest
from media import Recording, pattern, record
from mp4_boxes import set_display_matrix

from faceblur.video.frames import SourceFrame
from faceblur.video.key_frames import KeyFrames, find_key_frames
from faceblur.video.source import VideoSource
from faceblur.video.stills import stills

COUNT, GROUP = 60, 12
GROUPS = {"x264-params": f"keyint={GROUP}:min-keyint={GROUP}:scenecut=0:bframes=3:open-gop=1"}


def _read(path: Path) -> tuple[list[Fraction], list[np.ndarray]]:
    with VideoSource(path) as video:
        frames = [item for item in video.read() if isinstance(item, SourceFrame)]
        return [f.pts_s for f in frames], [f.image.to_ndarray(format="bgr24") for f in frames]


@pytest.mark.parametrize(
    ("name", "turned"),
    [("clip.mp4", False), ("clip.mkv", False), ("clip.ts", False), ("c.mp4", True)],
)
def test_frames_are_those_of_reading_from_the_start(
    tmp_path: Path, name: str, turned: bool
) -> None:
    path = tmp_path / name
    record(path, pattern(COUNT), Recording(options=GROUPS))
    if turned:
        set_display_matrix(path, (0, 1, -1, 0))
    times, images = _read(path)
    assert len(times) == COUNT
    for wanted in (range(1), range(30, 33), range(47, 49), range(COUNT - 1, COUNT)):
        decoded = iter(range(COUNT * 2))
        found = stills(path, times, wanted, on_frame=partial(next, decoded))
        assert found.keys() == set(wanted)
        assert all(np.array_equal(found[i], images[i]) for i in wanted)
        # Where each frame has its time, nobody begins at the start.
        sought = name != "clip.ts"
        limit = GROUP + 16 + len(wanted)
        assert (next(decoded) <= limit) == (sought or wanted.stop <= limit)


_OPEN: Final = {"g": str(GROUP), "bf": "2"}
_SOUNDS: Final = {".mpg": "mp2", ".vob": "ac3", ".flv": "aac", ".wmv": "libmp3lame"}


@pytest.mark.parametrize(
    ("name", "encoder", "options"),
    [
        ("a.ts", "libx264", GROUPS),
        ("b.ts", "mpeg2video", _OPEN),
        ("c.avi", "mpeg4", _OPEN),
        ("d.avi", "mpeg4", {"g": str(GROUP)}),
        ("e.avi", "mjpeg", {}),
        ("f.avi", "libx264", GROUPS),
        ("g.mpg", "mpeg1video", _OPEN),
        ("h.vob", "mpeg2video", _OPEN),
        ("i.flv", "libx264", GROUPS),
        ("j.flv", "flv", {"g": str(GROUP)}),
        ("k.wmv", "wmv2", {"g": str(GROUP)}),
        ("l.wmv", "msmpeg4v3", {"g": str(GROUP)}),
        ("m.mxf", "mpeg2video", _OPEN),
        ("n.ogv", "libvpx", {"g": str(GROUP), "deadline": "realtime", "cpu-used": "8"}),
    ],
)
def test_containers_without_an_index_are_gone_through_once(
    tmp_path: Path, name: str, encoder: str, options: dict[str, str]
) -> None:
    path = tmp_path / name
    pixels = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
    how = Recording(
        encoder=encoder,
        options=options,
        pixel_format=pixels,
        # What is read lies between packets of other tracks.
        sounds=("eng",) if path.suffix in _SOUNDS else (),
        sound_encoder=_SOUNDS.get(path.suffix, ""),
    )
    record(path, pattern(COUNT), how)
    times, images = _read(path)
    assert len(times) == COUNT
    keys = find_key_frames(path, times)
    assert keys is not None
    # H.264 in AVI does not say where frames are that change their order.
    is_sure = name != "f.avi"
    for start in range(0, COUNT - 2, 4):
        wanted = range(start, start + 3)
        decoded = iter(range(COUNT * 2))
        found = stills(path, times, wanted, keys=keys, on_frame=partial(next, decoded))
        assert found.keys() == set(wanted)
        assert all(np.array_equal(found[i], images[i]) for i in wanted)
        if is_sure:
            assert next(decoded) <= GROUP + len(wanted)
    # Single frames, too, key frames among them.
    for place in {key.place for key in keys.frames}:
        found = stills(path, times, range(place, place + 1), keys=keys)
        assert np.array_equal(found[place], images[place])
    # Nor are frames shown for others where it is wrong.
    wrong = [replace(key, place=key.place + 1) for key in keys.frames]
    mistaken = KeyFrames(wrong)
    for place in (GROUP + 1, GROUP + 3):
        found = stills(path, times, range(place, place + 1), keys=mistaken)
        assert np.array_equal(found[place], images[place])
    # Times that are not those of the file are not trusted.
    late = [*times[:30], *(time + Fraction(1, 25) for time in times[30:])]
    assert find_key_frames(path, late) is None
    # Where the last frame is lacking, all others are at the times of those before them.
    assert find_key_frames(path, times[:-1]) is None


def test_frames_without_a_time_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "clip.mpg"
    record(path, pattern(COUNT), Recording(options=GROUPS))
    times, images = _read(path)
    assert len(times) == COUNT
    # Program streams give it to some, and nobody knows that of the others in H.264.
    assert find_key_frames(path, times) is None
    found = stills(path, times, range(40, 42))
    assert all(np.array_equal(found[i], images[i]) for i in (40, 41))


@pytest.mark.parametrize(
    ("name", "encoder", "options"),
    [("clip.ts", "libx264", GROUPS), ("clip.vob", "mpeg2video", _OPEN)],
)
def test_where_recordings_were_joined_each_has_its_clock(
    tmp_path: Path, name: str, encoder: str, options: dict[str, str]
) -> None:
    path = tmp_path / name
    record(path, pattern(COUNT), Recording(encoder=encoder, options=options))
    path.write_bytes(path.read_bytes() * 2)
    times, images = _read(path)
    assert len(times) == 2 * COUNT
    keys = find_key_frames(path, times)
    assert keys is not None
    assert len({key.shift_s for key in keys.frames}) == 2
    for start in range(0, 2 * COUNT - 2, 7):
        wanted = range(start, start + 3)
        decoded = iter(range(COUNT * 4))
        found = stills(path, times, wanted, keys=keys, on_frame=partial(next, decoded))
        assert found.keys() == set(wanted)
        assert all(np.array_equal(found[i], images[i]) for i in wanted)
        # What lies on both sides of the joint is counted from the start.
        assert next(decoded) <= GROUP + len(wanted) or COUNT in wanted[1:]


def test_a_frame_that_is_lacking_at_a_joint_moves_no_others(tmp_path: Path) -> None:
    path = tmp_path / "clip.vob"
    halves = []
    for scale in (1, 2):
        how = Recording(encoder="mpeg2video", options=_OPEN)
        record(path, pattern(COUNT // 2, width=160 * scale, height=120 * scale), how)
        halves.append(path.read_bytes())
    path.write_bytes(b"".join(halves))
    times, images = _read(path)
    # Where frames become larger the decoder begins anew, and loses one that it still held.
    assert len(times) == COUNT - 1
    keys = find_key_frames(path, times)
    for place in range(0, len(times), 3):
        found = stills(path, times, range(place, place + 1), keys=keys)
        assert np.array_equal(found[place], images[place])


def _record_in_turn(path: Path) -> None:
    """Two recordings of other settings, one behind the other by one clock; each tells its own once,
    at its start."""
    with ExitStack() as opened:
        sources = []
        for number, quantizer in enumerate(("10", "40")):
            half = path.with_name(f"{number}.mp4")
            options = {"preset": "ultrafast", "qp": quantizer, "g": str(GROUP)}
            record(half, pattern(COUNT // 2), Recording(options=options))
            sources.append(opened.enter_context(av.open(str(half))))
        output = opened.enter_context(av.open(str(path), "w"))
        target = output.add_stream_from_template(sources[0].streams.video[0])
        place = 0
        for source in sources:
            stream = source.streams.video[0]
            # As FFmpeg tells of it: beside the frame.
            names = "extract_extradata", "filter_units=remove_types=6-8"
            first, later = (
                av.BitStreamFilterContext(f"h264_mp4toannexb,{name}", stream) for name in names
            )
            for at, packet in enumerate(each for each in source.demux(stream) if each.size):
                kept = packet
                if path.suffix == ".ts" or source is not sources[0]:
                    (kept,) = (later if at else first).filter(packet)
                kept.stream, kept.time_base = target, Fraction(1, 25)
                kept.pts = kept.dts = place
                place += 1
                output.mux(kept)


def _record_with_palette(path: Path) -> None:
    """A video whose colours stand in a palette, at its start."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = 160, 120, "pal8"
        colours = np.random.default_rng(1).integers(0, 255, (256, 4), np.uint8)
        for image in pattern(COUNT):
            frame = av.VideoFrame.from_ndarray((image[..., 0].copy(), colours), "pal8")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))


@pytest.mark.parametrize(
    ("name", "make", "last_key"),
    [
        ("a.flv", _record_in_turn, 24),
        # The second one's own start is one, since it tells there.
        ("b.ts", _record_in_turn, COUNT // 2),
        ("c.avi", _record_with_palette, None),
    ],
)
def test_decoding_does_not_begin_where_it_would_miss_what_the_decoder_was_told_before(
    tmp_path: Path, name: str, make: Callable[[Path], None], last_key: int | None
) -> None:
    path = tmp_path / name
    make(path)
    times, images = _read(path)
    assert len(times) == COUNT
    keys = find_key_frames(path, times)
    assert keys is not None
    for place in (0, 5, 29, 31, 44, COUNT - 1):
        found = stills(path, times, range(place, place + 1), keys=keys)
        assert np.array_equal(found[place], images[place])
    assert [key.place for key in keys.frames][-1:] == ([] if last_key is None else [last_key])


def test_frames_of_a_slow_recording_keep_their_order(tmp_path: Path) -> None:
    path = tmp_path / "clip.ts"
    record(path, pattern(COUNT), Recording(rate=Fraction(1, 2), options=GROUPS))
    times, images = _read(path)
    keys = find_key_frames(path, times)
    assert keys is not None
    assert len({key.shift_s for key in keys.frames}) == 1
    for place in range(COUNT - 2):
        found = stills(path, times, range(place, place + 1), keys=keys)
        assert np.array_equal(found[place], images[place])


def test_times_that_are_not_those_of_the_file_are_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    record(path, pattern(COUNT), Recording(options=GROUPS))
    times, images = _read(path)
    # As if one frame were not there: counting from the start still gives the right one.
    late = [*times[:30], *(time + Fraction(1, 25) for time in times[30:])]
    for wanted in (range(33, 34), range(29, 31)):
        found = stills(path, late, wanted)
        assert all(np.array_equal(found[i], images[i]) for i in wanted)
