"""Which parts of large frames are searched closely, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from faceblur.detection.letterbox import Letterbox
from faceblur.detection.options import Tiles
from faceblur.detection.parts import PERIOD_S, PartDetections, PartPlan, Rotation
from faceblur.detection.video_input import ModelInputMaker
from faceblur.detections import Detections
from faceblur.video.frames import VideoProperties


@pytest.mark.parametrize(
    ("size", "tiles", "count"),
    [
        ((1920, 1080), "auto", 0),
        ((1080, 1920), "auto", 0),
        ((1928, 1080), "auto", 4),
        ((3840, 2160), "off", 0),
        ((3840, 2160), "auto", 16),
        ((3840, 2160), "fine", 49),
        ((2160, 3840), "auto", 16),
        ((1920, 1080), "fine", 9),
        ((7680, 1080), "auto", 30),
        ((7680, 4320), "auto", 25),
    ],
)
def test_large_frames_have_parts_in_which_small_faces_lie_wholly(
    size: tuple[int, int], tiles: Tiles, count: int
) -> None:
    whole = Letterbox.plan(*size)
    plan = PartPlan.of(whole, tiles=tiles)
    assert len(plan.parts) == count
    side = int(15 * max(size) / 640)
    views = [part.view for part in plan.parts]
    assert all(v.x + v.width <= size[0] and v.y + v.height <= size[1] for v in views)
    random = np.random.default_rng(3)
    for x, y in random.integers(0, np.array(size) - side - 4, (200 if views else 0, 2)):
        assert any(
            v.x <= x and v.y <= y and x + side <= v.x + v.width and y + side <= v.y + v.height
            for v in views
        ), (x, y)
    # One request can hold them all.
    assert {part.letterbox.shape for part in plan.parts} <= {whole.shape}


def longest_wait_s(rotation: Rotation, count: int, times: Sequence[float]) -> float:
    """The longest time between two passes over one part, from the first on."""
    seen: dict[int, float] = {}
    longest = 0.0
    for time_s in times:
        for part in rotation.take(time_s):
            longest = max(longest, time_s - seen.get(part, time_s))
            seen[part] = time_s
    assert sorted(seen) == list(range(count))
    return max(longest, *(times[-1] - last for last in seen.values()))


@pytest.mark.parametrize("rate", [1.9, 5, 12.5, 24, 25, 30, 60, 120])
@pytest.mark.parametrize("count", [6, 16, 49])
def test_every_part_has_its_turn_in_the_stated_time(rate: float, count: int) -> None:
    times = [number / rate for number in range(int(5 * rate))]
    assert longest_wait_s(Rotation(count), count, times) <= max(PERIOD_S, 1 / rate) + 1e-6
    jitter = np.random.default_rng(1).uniform(-0.3, 0.3, len(times)) / rate
    uneven = longest_wait_s(Rotation(count), count, list(np.array(times) + jitter))
    assert uneven <= max(PERIOD_S, 1 / rate) * 1.5


def test_no_part_of_a_flat_frame_is_empty() -> None:
    for size in ((16_000, 2), (2, 16_000), (16_000, 5), (5, 16_000), (16_000, 1)):
        parts = PartPlan.of(Letterbox.plan(*size), tiles="auto").parts
        assert all(min(part.view.width, part.view.height) > 0 for part in parts), size


def test_the_first_frame_shows_all_parts_and_others_a_few() -> None:
    rotation = Rotation(16)
    assert len(rotation.take(0.0)) == 16
    assert sum(len(rotation.take(number / 25)) for number in range(1, 13)) == 16
    limited = Rotation(16, most=3)
    assert [len(limited.take(float(number))) for number in range(6)] == [3] * 6
    assert longest_wait_s(Rotation(16, most=8), 16, [n / 4 for n in range(40)]) <= PERIOD_S


def test_parts_of_frames_that_nobody_looked_at_are_next() -> None:
    """Every other frame is dropped: without putting back, half of the parts are never seen."""

    def seen(put_back: Callable[[Rotation, Sequence[int]], None]) -> set[int]:
        rotation, looked = Rotation(12, most=1), set()
        for number in range(60):
            parts = rotation.take(number / 24)
            if number % 2:
                put_back(rotation, parts)
            else:
                looked |= set(parts)
        return looked

    assert seen(Rotation.put_back) == set(range(12))
    assert len(seen(lambda rotation, parts: None)) == 6
    Rotation(2).put_back([5])


def faces(*rows: tuple[float, float, float, float, float]) -> Detections:
    return Detections.from_rows(np.array([[*row, *[0] * 10] for row in rows], np.float32))


def test_what_only_a_part_shows_is_told_apart() -> None:
    plan = PartPlan.of(Letterbox.plan(3840, 2160), tiles="auto")
    assert plan.whole.source == (3840, 2160)
    # A face of 120 pixels that both show, one of 24 that the part alone does.
    whole = faces((100, 62, 120, 82, 0.9))
    index = 0
    part = plan.parts[index]
    scale = part.view.width / part.letterbox.resized[0]
    box = np.array([600, 300, 720, 420]) - np.tile([part.view.x, part.view.y], 2)
    small = np.array([480, 300, 504, 324]) - np.tile([part.view.x, part.view.y], 2)
    answer = faces((*(box / scale), 0.8), (*(small / scale), 0.6))
    found = plan.merge([whole, answer], [index], min_score=0.1)
    assert isinstance(found, PartDetections)
    assert found.close.tolist() == [False, True]
    assert found.boxes[1] == pytest.approx([480, 300, 504, 324], abs=0.1)
    view = part.view
    expected = [view.x, view.y, view.x + view.width, view.y + view.height]
    assert found.searched.tolist() == [expected]
    nobody = plan.merge([faces()], [], min_score=0.1)
    assert isinstance(nobody, PartDetections)
    assert len(nobody) == 0
    assert nobody.searched.shape == (0, 4)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p", "gbrp", "gray"])
def test_a_part_is_cut_out_of_the_frame_itself(pixel_format: str) -> None:
    size = 64
    random = np.random.default_rng(2)
    rough = random.integers(0, 256, (24, 43, 3)).astype(np.uint8)
    image = cv2.resize(rough, (430, 240), interpolation=cv2.INTER_CUBIC)
    frame = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=pixel_format)
    letterbox = Letterbox.plan(430, 240, size=size)
    plan = PartPlan.of(letterbox, tiles="auto")
    assert len(plan.parts) > 4
    properties = VideoProperties(
        width=430, height=240, pixel_format=pixel_format, time_base=Fraction(1, 25)
    )
    turns = range(len(plan.parts))
    whole, *parts = ModelInputMaker(properties, letterbox, plan.parts).whole_and_parts(frame, turns)
    assert (whole == ModelInputMaker(properties, letterbox)(frame)).all()
    shown = frame.to_ndarray(format="rgb24")
    for part, canvas in zip(plan.parts, parts, strict=True):
        view, box = part.view, part.letterbox
        expected = cv2.resize(
            shown[view.y : view.y + view.height, view.x : view.x + view.width],
            box.resized,
            interpolation=cv2.INTER_LINEAR,
        )
        seen = canvas[box.top : box.top + box.resized[1], box.left : box.left + box.resized[0]]
        assert np.abs(seen.astype(int) - expected)[2:-2, 2:-2].mean() < 12
