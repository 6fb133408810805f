"""What differs from a fixed view is masked: until it is learnt, all of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fixed_views import HEIGHT, WIDTH, View, enlarged, somebody

from faceblur.errors import InputError
from faceblur.image.pixels import Plane
from faceblur.moving import background, learning, mover
from faceblur.moving.learning import SAMPLES, Samples, background_of
from faceblur.moving.options import MovingOptions


def leaks(view: View, *, tone: float = 25.0, change: float = 0.0) -> float:
    """Somebody walks through; the largest share of them that shows in a frame."""
    worst = 0.0
    for x in range(-15, WIDTH, 20):
        who = somebody(x)
        if who.sum() > 300:
            masked = view.show(who, tone=tone, change=change)
            worst = max(worst, 1 - float(masked[who].mean()))
    return worst


def test_all_is_masked_until_the_view_is_learnt() -> None:
    view = View()
    before = list(view.run(view.options.hold_s - 0.5))
    assert all(masked.all() for masked in before)
    assert view.moving.whole
    *_, after = view.run(2)
    assert not after.any()
    assert not view.moving.whole


def test_somebody_who_is_there_from_the_start_is_masked_as_long_as_one_who_comes() -> None:
    view = View()
    who = somebody(100)
    assert all(masked[who].all() for masked in view.run(view.options.hold_s - 0.5, who=who))


def test_whoever_walks_through_is_covered_and_little_else() -> None:
    view = View()
    view.learn()
    assert leaks(view) < 0.02
    blemish = [
        float(view.show(somebody(x))[~somebody(x)].mean()) for x in range(20, WIDTH - 50, 20)
    ]
    # A margin around somebody who takes up 5 % of the frame, and where they have just been.
    assert np.mean(blemish) < 0.15
    # Their trail goes, and what was behind them is still known.
    *_, last = view.run(1)
    assert not last.any()


def test_the_measure_sees_what_a_blunt_mask_misses() -> None:
    view = View(contrast=60)
    view.learn()
    assert leaks(view, tone=165) > 0.5
    fine = View()
    fine.learn()
    # What is left is furniture in the very colour of their clothes.
    assert leaks(fine, tone=165) < 0.1


def test_who_stands_still_is_masked_for_hold_s_and_no_longer() -> None:
    view = View()
    view.learn()
    who = somebody(140)
    held = list(view.run(view.options.hold_s - 0.5, who=who))
    assert all(masked[who].all() for masked in held)
    *_, last = view.run(2, who=who)
    assert not last[who].any()
    # They go: where they were is another view, and masked as long.
    assert all(masked[who].mean() > 0.9 for masked in view.run(view.options.hold_s - 0.5))


def test_a_mask_that_forgets_at_once_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    view = View()
    view.learn()
    object.__setattr__(view.options, "hold_s", 0.5)
    who = somebody(140)
    assert not all(masked[who].all() for masked in view.run(3.5, who=who))


def test_who_was_seen_with_a_face_is_masked_longer() -> None:
    view = View(face_hold_s=9.0)
    view.learn()
    who = somebody(140)
    face = np.array([[145, 72, 165, 95]], np.float32)
    view.show(who, faces=face)
    held = list(view.run(8, who=who))
    assert all(masked[who].all() for masked in held)
    *_, last = view.run(3, who=who)
    assert not last[who].any()


def test_a_jump_of_the_light_masks_all_until_it_is_learnt_again() -> None:
    view = View()
    view.learn()
    held = list(view.run(view.options.hold_s - 0.5, change=70))
    assert all(masked.all() for masked in held)
    *_, last = view.run(2, change=70)
    assert not last.any()


def test_a_changed_exposure_is_followed_and_hides_nobody() -> None:
    view = View()
    view.learn()
    assert leaks(view, change=14) < 0.02
    *_, last = view.run(1, change=14)
    assert last.mean() < 0.02


def test_without_following_the_light_a_changed_exposure_masks_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background.Background, "_follow_light", lambda *_: None)
    view = View()
    view.learn()
    assert view.show(change=14).all()


def test_a_camera_that_was_moved_masks_all_until_it_is_learnt_again() -> None:
    view = View()
    view.learn()
    view.background = np.roll(view.background, 7, axis=1)
    held = list(view.run(view.options.hold_s - 0.5))
    assert all(masked.all() for masked in held)
    assert view.moving.whole
    *_, last = view.run(2)
    assert last.mean() < 0.05


def test_without_watching_edges_a_moved_camera_shows_what_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mover, "_MOVED", 2.0)
    view = View()
    view.learn()
    view.background = np.roll(view.background, 7, axis=1)
    view.show()
    assert not view.moving.whole


def test_noise_and_rain_are_no_people_but_small_things_can_be_asked_for() -> None:
    view = View()
    view.learn()
    rng = np.random.default_rng(2)
    for _ in range(10):
        drops = np.zeros((HEIGHT, WIDTH), np.bool_)
        for x, y in rng.integers(0, 160, (8, 2)).tolist():
            drops[y : y + 8, 2 * x] = True
        assert view.show(drops, tone=230).mean() < 0.01
    dot = somebody(150, width=12, height=12)
    assert view.show(dot)[dot].all()
    rough = View(smallest=0.02)
    rough.learn()
    assert not rough.show(dot).any()


def test_a_shadow_is_masked_unless_it_is_to_be_left() -> None:
    for shadows, share in (("mask", 1.0), ("leave", 0.0)):
        view = View(shadows=shadows)
        view.learn()
        shade = somebody(150)
        view.background = np.where(shade, view.background * 0.7, view.background)
        assert view.show()[shade].mean() == pytest.approx(share, abs=0.1)


def test_a_gap_counts_for_little_of_the_time_that_something_must_stand() -> None:
    view = View(hold_s=20.0)
    view.show()
    view.time_s += 60
    assert view.show().all()


def after_somebody_left(view: View) -> list[float]:
    """Somebody walks off, and a faint shade stays; what is masked of it, frame by frame."""
    view.learn()
    who = somebody(140)
    view.show(who)
    view.background = np.where(who, view.background + 7, view.background)
    return [float(masked[who].mean()) for masked in view.run(1)]


def test_where_somebody_was_is_shown_at_once_if_it_is_the_background_beyond_doubt() -> None:
    view = View()
    view.learn()
    view.show(somebody(140))
    assert not view.show().any()
    first, second, *_, last = after_somebody_left(View())
    assert (first, second, last) == (1.0, 1.0, 0.0)


def test_a_trail_that_trusts_any_likeness_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_FAINT", 1.0)
    assert after_somebody_left(View())[0] < 0.5


def entering(view: View, sizes: tuple[tuple[int, int], ...]) -> list[mover.Found]:
    """Somebody comes in at the border, so wide and high in each frame."""
    view.learn()
    return [view.find(somebody(0, width=wide, height=high)) for wide, high in sizes]


def test_who_comes_in_is_masked_before_they_are_large_enough_to_be_noticed() -> None:
    sliver = somebody(0, width=1, height=10)
    found = entering(View(), ((1, 10), (12, 50), (24, 90)))
    assert not enlarged(found[0].masked)[sliver].any()
    assert [each.come is None for each in found] == [True, True, False]
    mover.cover_coming(found[:2], found[2])
    # At 5 frames a second the first of them is too long ago.
    assert not enlarged(found[0].masked)[sliver].any()
    found[0] = dataclasses.replace(found[0], time_s=found[2].time_s - 0.2)
    mover.cover_coming(found[:2], found[2])
    assert enlarged(found[0].masked)[sliver].all()
    assert not enlarged(found[0].masked)[:, 60:].any()


def test_what_is_there_in_one_frame_only_has_not_come() -> None:
    view = View()
    view.learn()
    drops = [somebody(x, width=12, height=20) for x in (40, 120, 220, 40)]
    assert [view.find(drop).come for drop in drops] == [None] * 4


def test_a_file_whose_exposure_changes_while_somebody_is_there_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def masked_share() -> float:
        view = View(hold_s=60.0)
        changes = [18.0 if 12 <= i < 36 else 0.0 for i in range(48)]
        learnt = background_of([view.sight(change=by) for by in changes], view.moving.size)
        assert learnt is not None
        view.moving.set(*learnt)
        shown = [view.show(change=by).mean() for by in (0.0, 18.0, 0.0)]
        return float(np.max(shown))

    assert masked_share() < 0.01
    monkeypatch.setattr(learning, "shift_of_light", lambda *_, same: None)
    assert masked_share() > 0.5


def test_the_first_frame_counts_for_the_time_that_something_stays() -> None:
    view = View()
    shown = [i / 5 for i, masked in enumerate(view.run(6)) if not masked.any()]
    assert view.options.hold_s <= shown[0] < view.options.hold_s + background.UPDATE_S + 0.21


def samples_of(view: View, states: list[int | None]) -> Samples:
    """Frames of a file: where somebody stands in each, or nobody does."""
    samples = Samples()
    for index, x in enumerate(states):
        if samples.wants_next():
            tone = 20.0 + 40 * (index % 4)
            samples.add(view.sight(None if x is None else somebody(x), tone))
    return samples


def test_a_file_is_known_before_its_first_frame() -> None:
    view = View(hold_s=60.0)
    # Somebody is at the same place most of the time, in other clothes each time.
    samples = samples_of(view, [None, 140, 140, 140, None, 140, 140] * 12)
    assert SAMPLES / 2 <= len(samples.sights) <= SAMPLES
    learnt = background_of(samples.sights, view.moving.size)
    assert learnt is not None
    value, _, known = learnt
    assert np.abs(value[:HEIGHT] - view.sight()[:HEIGHT]).mean() < 2
    assert known.all()
    view.moving.set(*learnt)
    assert view.show(somebody(140))[somebody(140)].all()
    assert view.show(somebody(140))[:, :90].mean() == 0


def test_what_stood_for_half_of_a_file_and_then_went_is_not_taken_for_its_background() -> None:
    view = View(hold_s=60.0)
    who = somebody(140)
    sights = [view.sight(who if i < 20 else None) for i in range(40)]
    learnt = background_of(sights, view.moving.size)
    assert learnt is not None
    assert not learnt[2][who].any()
    view.moving.set(*learnt)
    assert view.show()[who].all()


def test_of_too_few_samples_nothing_is_learnt() -> None:
    view = View()
    assert background_of([view.sight() for _ in range(5)], view.moving.size) is None


def test_settings_out_of_range_are_refused() -> None:
    for name, value in (("hold_s", 0.1), ("contrast", 0.0), ("mode", "on"), ("shadows", "maybe")):
        with pytest.raises(InputError, match=name):
            MovingOptions(**{name: value})  # type: ignore[arg-type]


def test_sights_of_any_planes() -> None:
    view = View()
    deep = (view.sight()[:HEIGHT].astype(np.uint16)) << 2
    grey = view.moving.size.look([Plane(deep)], peak=1023)
    assert grey.shape == (3 * HEIGHT, WIDTH)
    assert np.abs(grey[:HEIGHT].astype(int) - view.sight()[:HEIGHT]).mean() < 20
    assert enlarged(view.moving.find(grey, time_s=1.0).masked).all()
