"""Optimiser, schedule, average, replicas, and the CPU tuning that must change nothing."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceblur_export.network import build
from faceblur_training.loop.cpu_tuning import tune
from faceblur_training.loop.ema import WeightAverage
from faceblur_training.loop.optimizer import MuonAdamW, orthogonalised
from faceblur_training.loop.replicas import Replicas
from faceblur_training.loop.schedule import ENDLESS, Schedule


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_orthogonalised_matrices_turn_and_do_not_stretch(rows: int, columns: int, seed: int):
    torch.manual_seed(seed)
    values = torch.linalg.svdvals(orthogonalised(torch.randn(rows, columns)))
    assert values.max() < 1.4
    # The iteration is cut short: it brings nearly all directions to about the same length.
    assert values.mean() > 0.5


def test_the_optimiser_descends() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 1, 1)
    )
    optimiser = MuonAdamW(model, rate=0.02)
    pixels = torch.rand(4, 3, 8, 8)
    wanted = pixels.mean(1, keepdim=True)
    losses = []
    for step in range(60):
        model.zero_grad()
        loss = (model(pixels) - wanted).square().mean()
        loss.backward()
        optimiser.dial(0.02, step)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("shape", ["cosine", "wsd"])
def test_the_rate_warms_up_and_comes_down(shape) -> None:
    schedule = Schedule(0.1, 1000, warmup=100, shape=shape, decay=200)
    rates = [schedule.at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.1)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[-1] < 0.003


def test_the_clock_brings_the_rate_down() -> None:
    schedule = Schedule(0.1, ENDLESS, warmup=100, minutes=2)
    assert schedule.at(0) == pytest.approx(0.001)
    assert [schedule.at(500, seconds) for seconds in (5, 60, 66, 93, 119.9, 130)] == pytest.approx(
        [0.1, 0.1, 0.1, 0.05, 0.001, 0.001]
    )
    assert not schedule.is_over(500, 119)
    assert schedule.is_over(500, 120)


def test_a_level_schedule_can_be_prolonged_before_its_decay() -> None:
    short = Schedule(0.1, 1000, warmup=10, decay=200)
    long = dataclasses.replace(short, steps=5000)
    assert [short.at(s) for s in range(short.decay_start)] == [
        long.at(s) for s in range(short.decay_start)
    ]
    assert short.at(990) < long.at(990)


def test_the_average_follows_slowly() -> None:
    model = build("yolov5n-0.5")
    average = WeightAverage(model, decay=0.9, warmup=1e-6)
    name, weight = next(iter(model.named_parameters()))
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1)
    average.update(model)
    moved = average.model.state_dict()[name] - before
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1), rtol=0, atol=1e-5)


def gradients(model, pixels):
    model.train()
    sum(m.square().mean() for m in model(pixels)).backward()
    return {n: p.grad for n, p in model.named_parameters()}


def distance(got, expected) -> float:
    errors = [(got[n] - v).norm() / (v.norm() + 1e-6) for n, v in expected.items()]
    return float(torch.stack(errors).mean())


def test_cpu_tuning_changes_nothing() -> None:
    torch.manual_seed(0)
    plain = build("yolov5n-0.5")
    pixels = torch.rand(2, 3, 96, 96)
    exact = gradients(copy.deepcopy(plain), pixels)
    assert distance(gradients(tune(copy.deepcopy(plain)), pixels), exact) < 0.01
    with torch.autocast("cpu", torch.bfloat16):
        rounded = gradients(copy.deepcopy(plain), pixels)
        tuned = gradients(tune(copy.deepcopy(plain)), pixels)
    # bfloat16 rounds; the tuning must not add to that.
    assert distance(tuned, exact) < 1.2 * distance(rounded, exact)


def test_replicas_share_weights_and_add_gradients() -> None:
    torch.manual_seed(0)
    model = build("yolov5n-0.5")
    replicas = Replicas(model, 2)
    pixels = torch.rand(2, 3, 64, 64)

    def work(index, replica):
        # Without batch statistics the gradient of a sum is the sum of gradients.
        replica.eval()
        sum(m.square().sum() for m in replica(pixels[index : index + 1])).backward()
        return {}

    replicas.run(work)
    whole = copy.deepcopy(model)
    whole.eval().zero_grad()
    sum(m.square().sum() for m in whole(pixels)).backward()
    for (name, shared), alone in zip(model.named_parameters(), whole.parameters(), strict=True):
        error = (shared.grad - alone.grad).norm() / (alone.grad.norm() + 1e-9)
        assert error < 1e-3, name
    with torch.no_grad():
        next(model.parameters()).fill_(7)
    assert all((next(m.parameters()) == 7).all() for m in replicas.models)
    replicas.close()
