"""Heads: each conversion against the pair it came from, there and back for every schedule, and the limits at the ends."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.errors import UserError
from minildm.transport.heads import (
    HEADS,
    convert,
    loss_weight,
    noise_from_denoised,
    pair,
    turning,
    velocity_from_denoised,
)
from minildm.transport.paths import sample_path
from minildm.transport.schedules import Cosine, Linear, Tangent, expand

SCHEDULES = [Linear(), Cosine(), Tangent(1.0), Tangent(3.0), Tangent(9.0)]
every = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def truth(schedule, seed: int, t: torch.Tensor):
    """A pair on its path at times t, and what each head should say there."""
    z1, z0 = torch.randn(
        2, len(t), 3, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    sample = sample_path(schedule, z1, z0, t)
    score = -z0 / schedule.b(expand(t, z0))
    return sample.zt, {"denoised": z1, "noise": z0, "velocity": sample.velocity, "score": score}


@every
@pytest.mark.parametrize("source, target", list(permutations(HEADS, 2)))
def test_round_trips_over_all_times(schedule, source, target):
    """There and back, and against the truth, to 1e-10 for t from 0.001 to 0.999."""
    t = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    zt, heads = truth(schedule, 0, t)
    there = convert(schedule, zt, heads[source], t, source, target)
    back = convert(schedule, zt, there, t, target, source)
    for found, wanted in ((there, heads[target]), (back, heads[source])):
        assert ((found - wanted).abs() / wanted.abs().clamp(min=1)).max() <= 1e-10


@every
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_a_true_data_prediction_gives_back_noise_and_velocity(schedule, seed):
    t = 0.98 * torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    zt, heads = truth(schedule, seed, t)
    assert torch.allclose(
        noise_from_denoised(schedule, zt, heads["denoised"], t), heads["noise"], atol=1e-9
    )
    assert torch.allclose(
        velocity_from_denoised(schedule, zt, heads["denoised"], t), heads["velocity"], atol=1e-8
    )


def test_the_formulas_of_the_straight_path():
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    zt, heads = truth(Linear(), 1, t)
    s = expand(t, zt)
    u = heads["velocity"]
    assert torch.allclose(convert(Linear(), zt, u, t, "velocity", "denoised"), zt + (1 - s) * u)
    assert torch.allclose(convert(Linear(), zt, u, t, "velocity", "noise"), zt - s * u)
    assert torch.allclose(convert(Linear(), zt, u, t, "velocity", "score"), (s * u - zt) / (1 - s))


@every
def test_paths_turn_at_every_time(schedule):
    """a' b - a b' > 0 on the closed interval, which is why the velocity is a head without singular times."""
    assert (turning(schedule, torch.linspace(0, 1, 101, dtype=torch.float64)) > 0.1).all()


@every
def test_limits_at_the_start(schedule):
    """At t = 0 the data prediction and the velocity give everything; noise and score leave z_1 = 0/0."""
    t = torch.zeros(5, dtype=torch.float64)
    zt, heads = truth(schedule, 2, t)
    for source in ("denoised", "velocity"):
        for target in HEADS:
            assert torch.allclose(
                convert(schedule, zt, heads[source], t, source, target), heads[target], atol=1e-10
            )
    for source in ("noise", "score"):
        assert convert(schedule, zt, heads[source], t, source, "denoised").isnan().all()
        assert torch.allclose(pair(schedule, zt, heads[source], t, source)[1], heads["noise"])


@every
def test_limits_at_the_end(schedule):
    """At t = 1 noise and velocity give data, noise and velocity; a finite score says z_0 = 0; a data prediction says no z_0."""
    t = torch.ones(5, dtype=torch.float64)
    zt, heads = truth(schedule, 3, t)
    for source in ("noise", "velocity"):
        for target in ("denoised", "noise", "velocity"):
            assert torch.allclose(
                convert(schedule, zt, heads[source], t, source, target), heads[target], atol=1e-10
            )
    denoised, noise = pair(schedule, zt, torch.ones_like(zt), t, "score")
    assert torch.allclose(denoised, zt) and noise.abs().max() <= 1e-15
    assert (
        convert(Linear(), heads["denoised"], heads["denoised"], t, "denoised", "velocity")
        .isnan()
        .all()
    )
    assert (convert(Linear(), zt, heads["noise"], t, "noise", "score").abs() == torch.inf).all()


@every
def test_a_data_prediction_nears_the_limits_of_its_velocity(schedule):
    """Just before t = 1 the velocity still comes back, with an error that grows as 1/b: no step should ask nearer."""
    for left in (1e-2, 1e-4, 1e-6):
        t = torch.full((5,), 1 - left, dtype=torch.float64)
        zt, heads = truth(schedule, 4, t)
        found = convert(schedule, zt, heads["denoised"], t, "denoised", "velocity")
        assert (found - heads["velocity"]).abs().max() <= 1e-14 / left


def test_unknown_heads_are_refused():
    zt = torch.zeros(2, 1)
    t = torch.full((2,), 0.5)
    for names in (("drift", "denoised"), ("denoised", "drift")):
        with pytest.raises(
            UserError, match="no head 'drift': choose one of denoised, noise, velocity, score"
        ):
            convert(Linear(), zt, zt, t, *names)


@every
def test_the_errors_of_all_heads_are_one_error_with_weights(schedule):
    """A wrong data prediction, converted: the squared error of the other head over its own is the weight."""
    t = torch.linspace(0.01, 0.99, 20, dtype=torch.float64)
    zt, heads = truth(schedule, 5, t)
    wrong = heads["denoised"] + torch.randn(
        zt.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64
    )
    base = (wrong - heads["denoised"]).square().sum((1, 2))
    for head in HEADS:
        error = (
            (convert(schedule, zt, wrong, t, "denoised", head) - heads[head]).square().sum((1, 2))
        )
        assert torch.allclose(error / base, loss_weight(schedule, t, head), rtol=1e-8)
    with pytest.raises(UserError, match="no head 'drift'"):
        loss_weight(schedule, t, "drift")
