"""Only what was checked and masked, or holds nothing of the source, can leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from faceblur.detections import Detections
from faceblur.errors import ServerError
from faceblur.live import CameraOptions, parse_sink, parse_source
from faceblur.live.frame_format import FrameFormat
from faceblur.live.frames import RawFrame, SafeFrame, placeholder
from faceblur.live.presenter import Presenter
from faceblur.live.scheduler import CheckedFrame
from faceblur.live.sinks.sink import Sink
from faceblur.masks.policy import Policy
from faceblur.masks.zones import Zone
from faceblur.moving.options import MovingOptions

FORMAT = FrameFormat(width=96, height=64)
NOISE = np.random.default_rng(7).integers(0, 256, FORMAT.size_bytes, dtype=np.uint8)
FACE = (30.0, 20.0, 50.0, 46.0)
ERROR = ServerError("not checked")


class Stream:
    """A camera's frames, ten a second, all of them noise."""

    def __init__(self, **settings: object) -> None:
        options = CameraOptions(
            name="door",
            source=parse_source("testpattern"),
            sinks=(parse_sink("null"),),
            **{"lookahead": 0, **settings},
        )
        self.presenter = Presenter(options)
        self.image = NOISE
        self.held = 0
        self.interval_s = 0.1
        self._time_s = 50.0

    def show(self, *, face: bool = False, error: ServerError | None = None) -> list[SafeFrame]:
        self._time_s += self.interval_s
        self.held += 1
        frame = RawFrame(
            FORMAT,
            self.image.copy(),
            arrived_s=self._time_s,
            time_s=self._time_s,
            on_release=self._released,
        )
        faces = _detections(FACE) if face else Detections.empty()
        verdict = CheckedFrame(frame, faces=None if error else faces, error=error)
        return list(self.presenter.present(verdict))

    def _released(self) -> None:
        self.held -= 1


def _detections(*boxes: tuple[float, ...]) -> Detections:
    return Detections.from_rows([[*box, 0.9, *([40.0] * 10)] for box in boxes])


def _shows(frame: SafeFrame) -> float:
    """Share of the source's samples that are in a frame where they were."""
    return float((frame.samples == NOISE).mean())


def _shows_face(frame: SafeFrame) -> bool:
    x1, y1, x2, y2 = map(int, FACE)
    luma, source = (
        each[: FORMAT.width * FORMAT.height].reshape(FORMAT.height, FORMAT.width)[y1:y2, x1:x2]
        for each in (frame.samples, NOISE)
    )
    return bool((luma == source).mean() > 0.2)


def test_a_format_passes_through_a_message_and_nonsense_is_refused() -> None:
    format_ = FrameFormat(width=96, height=64, matrix=1, full_range=True, aspect=Fraction(4, 3))
    message = json.loads(json.dumps({"kind": "frame", **format_.to_message()}))
    assert FrameFormat.from_message(message) == format_
    for change in ({"width": 7}, {"height": "tall"}, {"aspect": [1, 0]}, {"matrix": None}):
        with pytest.raises((TypeError, ValueError, ZeroDivisionError)):
            FrameFormat.from_message(message | change)


def test_a_safe_frame_cannot_be_made_by_hand() -> None:
    with pytest.raises(TypeError, match="mask"):
        SafeFrame(object(), FORMAT, NOISE, arrived_s=None, time_s=0.0)


def test_a_sink_takes_nothing_but_safe_frames() -> None:
    sink = Sink(parse_sink("null"), name="door")
    raw = RawFrame(FORMAT, NOISE, arrived_s=0.0, time_s=0.0)
    with pytest.raises(TypeError, match="SafeFrame"):
        sink.offer(raw, 0.0)  # type: ignore[arg-type]


def test_a_frame_is_masked_once() -> None:
    raw = RawFrame(FORMAT, NOISE, arrived_s=0.0, time_s=0.0)
    raw.take()
    with pytest.raises(RuntimeError, match="used already"):
        raw.take()


def test_a_placeholder_does_not_depend_on_any_image() -> None:
    first, second = (placeholder(FORMAT, "door: closed", time_s=t) for t in (1.0, 2.0))
    assert np.array_equal(first.samples, second.samples)
    assert first.is_placeholder
    assert _shows(first) < 0.02


def test_faces_are_masked_and_the_rest_is_left_as_it_was() -> None:
    (frame,) = Stream().show(face=True)
    assert not _shows_face(frame)
    assert 0.7 < _shows(frame) < 1
    assert frame.faces == 1


def test_zones_are_masked_whatever_is_there() -> None:
    policy = Policy(zones=(Zone.parse("always", "0%,0% 100%,0% 100%,100% 0%,100%"),))
    (frame,) = Stream(policy=policy).show()
    assert _shows(frame) < 0.05


def test_a_face_that_is_lost_stays_masked_for_a_while() -> None:
    stream = Stream()
    for _ in range(5):
        stream.show(face=True)
    assert not any(_shows_face(frame) for _ in range(8) for frame in stream.show())
    assert any(_shows_face(frame) for _ in range(40) for frame in stream.show())


def test_a_frame_that_was_not_checked_is_not_shown() -> None:
    stream = Stream()
    stream.show()
    (frame,) = stream.show(error=ERROR)
    assert frame.is_placeholder
    assert _shows(frame) < 0.02
    (frame,) = stream.show()
    assert not frame.is_placeholder


def test_with_a_lookahead_frames_are_masked_before_their_face_was_found() -> None:
    stream = Stream(lookahead=3)
    shown = [frame for _ in range(5) for frame in stream.show()]
    shown += [frame for _ in range(3) for frame in stream.show(face=True)]
    assert [_shows_face(frame) for frame in shown] == [True, True, False, False, False]


def test_frames_whose_lookahead_was_not_checked_are_not_shown_either() -> None:
    stream = Stream(lookahead=3)
    shown = [frame for _ in range(6) for frame in stream.show()]
    assert [frame.is_placeholder for frame in shown] == [False] * 3
    shown = [*stream.show(error=ERROR), *(f for _ in range(7) for f in stream.show())]
    assert [frame.is_placeholder for frame in shown] == [True] * 4 + [False] * 4


@pytest.mark.parametrize(("interval_s", "every", "said"), [(0.7, 2, 1), (0.4, 2, 0), (0.7, 1, 0)])
def test_looks_that_turn_out_to_be_too_far_apart_are_said_once(
    interval_s: float, every: int, said: int, caplog: pytest.LogCaptureFixture
) -> None:
    stream = Stream(detect_every=every)
    stream.interval_s = interval_s
    for _ in range(20):
        stream.show()
    assert caplog.text.count("camera door: faces are detected every 0.7 s only") == said


def test_held_means_the_last_masked_frame_again_with_a_notice_at_its_foot() -> None:
    stream = Stream(on_failure="hold")
    (masked,) = stream.show(face=True)
    before = masked.format.image(masked.samples.copy()).to_ndarray(format="bgr24")
    masked.release()
    for _ in range(3):
        (frame,) = stream.show(error=ERROR)
        assert frame.is_placeholder
        after = frame.format.image(frame.samples).to_ndarray(format="bgr24")
        foot = len(after) * 10 // 12
        assert np.array_equal(after[:foot], before[:foot])
        assert after[-4:].std() < before[-4:].std(), "a bar"


def test_held_is_a_notice_as_long_as_nothing_was_masked() -> None:
    (frame,) = Stream(on_failure="hold").show(error=ERROR)
    assert _shows(frame) < 0.02


def test_a_mask_that_cannot_be_drawn_hides_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()

    def breaks(*_: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr("faceblur.masks.masker.Masker.apply", breaks)
    (frame,) = stream.show(face=True)
    assert frame.is_placeholder


@pytest.mark.parametrize("settings", [{}, {"lookahead": 4}, {"on_failure": "hold"}])
def test_all_memory_goes_back_to_the_source(settings: dict[str, object]) -> None:
    stream = Stream(**settings)
    for number in range(30):
        for frame in stream.show(face=number % 3 == 0, error=ERROR if number % 7 == 0 else None):
            frame.release()
    assert stream.held <= 5
    for frame in _rest(stream):
        frame.release()
    stream.presenter.close()
    assert stream.held == 0


def _rest(stream: Stream) -> Iterator[SafeFrame]:
    yield from stream.presenter.finish()


def test_what_moves_is_masked_and_everything_until_the_view_is_learnt() -> None:
    still = Stream(policy=Policy(moving=MovingOptions(mode="mask", hold_s=1.0)))
    assert still.presenter.view == "learning 0%"
    first = [_shows(frame) for _ in range(10) for frame in still.show()]
    assert max(first) < 0.1
    assert still.presenter.view.startswith("learning")
    *_, last = [_shows(frame) for _ in range(14) for frame in still.show()]
    assert last == 1.0
    assert still.presenter.view == "learnt"
    still.image = NOISE.copy()
    x1, y1, x2, y2 = map(int, FACE)
    still.image[: 96 * 64].reshape(64, 96)[y1:y2, x1:x2] = 10
    (frame,) = still.show()
    luma = frame.samples[: 96 * 64].reshape(64, 96)
    assert (luma[y1:y2, x1:x2] != 10).all()
    assert 0.5 < _shows(frame) < 0.95
    assert still.presenter.held == 0


def test_a_frame_that_cannot_be_compared_is_withheld(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream(policy=Policy(moving=MovingOptions(mode="mask", hold_s=1.0)))
    monkeypatch.setattr("faceblur.live.presenter.MovingMask", None)
    (frame,) = stream.show()
    assert frame.is_placeholder
    assert stream.presenter.held == 1


def _enters(lookahead: int) -> list[bool]:
    """Somebody comes in at the border, frame by frame; whether the first bit of them shows."""
    moving = MovingOptions(mode="mask", hold_s=1.0, smallest=0.05)
    still = Stream(lookahead=lookahead, policy=Policy(moving=moving))
    shown = [frame for _ in range(24) for frame in still.show()]
    for wide in (1, 20, 40, 40, 40, 40, 40):
        still.image = NOISE.copy()
        still.image[: 96 * 64].reshape(64, 96)[:30, :wide] = 10
        shown += still.show()
    came = shown[24 : 24 + 3]
    return [bool((frame.samples[: 96 * 64].reshape(64, 96)[:30, :1] == 10).any()) for frame in came]


def test_who_comes_in_is_masked_in_the_frames_that_wait_too() -> None:
    assert _enters(3) == [False, False, False]
    assert _enters(0) == [True, False, False]


def test_without_moving_nothing_is_compared() -> None:
    stream = Stream()
    assert stream.presenter.view == ""
    assert [_shows(frame) for frame in stream.show()] == [1.0]
