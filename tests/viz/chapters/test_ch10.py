"""The explorer of chapter 10: its latents, flow and rates, and decoding errors; each knob moves the picture."""

import numpy as np
import pytest
import torch

from minildm.dynamics.solvers import integrate
from minildm.transport.expansion_rate import midpoint_expansion_rate
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.schedules import Linear
from minildm.viz.chapters import ch10
from minildm.viz.chapters.ch10 import (
    FINE,
    STARTS,
    TIMES,
    TOKENS,
    WIDTHS,
    decoding_error,
    explorer,
    flow,
    latents,
    places,
    rates,
)
from minildm.viz.core.knobs import pixels


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("width", [0.03, 0.3, 0.9])
def test_latents_have_mean_zero_and_variance_one(width, tokens):
    means = places(width, tokens)
    assert float(means.mean()) == pytest.approx(0, abs=1e-12)
    assert float(means.square().mean()) + width**2 == pytest.approx(1)


@pytest.mark.parametrize("tokens", [2, 4])
def test_the_exact_flow_is_where_fine_steps_end(tokens):
    field = mixture_velocity(Linear(), latents(0.3, tokens))
    path = integrate(field, STARTS, torch.linspace(0, 1, 2001, dtype=torch.float64), "rk4")
    exact = flow(0.3, tokens)
    assert (path.states[-1, :, 0] - exact[-1]).abs().max() < 1e-5
    assert (exact[0] - STARTS[:, 0]).abs().max() < 1e-6 and FINE[0] == 0 and FINE[-1] == 1


@pytest.mark.parametrize("width", [0.05, 0.3, 0.7])
def test_rates_are_derivatives_of_the_field(width):
    z = torch.randn(len(TIMES), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = mixture_velocity(Linear(), latents(width, 3))
    x = z.reshape(-1, 1).requires_grad_()
    exact = torch.autograd.grad(field(x, TIMES.repeat_interleave(5)).sum(), x)[0].reshape(z.shape)
    assert torch.allclose(rates(width, 3, z), exact, rtol=1e-8, atol=1e-8)
    distance = float(places(width, 2).diff())
    border = ch10.rectifying(width, 2, 4).border
    assert torch.allclose(border, midpoint_expansion_rate(distance, width, TIMES), rtol=1e-9)


def test_decoding_errors_are_counted():
    tokens, rng = 4, torch.Generator().manual_seed(0)
    for width in (0.3, 0.5):
        k = torch.randint(tokens, (200_000,), generator=rng)
        noise = torch.randn(len(k), generator=rng, dtype=torch.float64)
        z = places(width, tokens)[k] + width * noise
        decoded = (z[:, None] - places(width, tokens)).abs().argmin(1)
        counted = float((decoded != k).double().mean())
        assert counted == pytest.approx(decoding_error(width, tokens), abs=4e-3)
    everything = [decoding_error(width, tokens) for width in sorted(WIDTHS)]
    assert everything == sorted(everything)


def test_each_knob_changes_the_picture():
    shown = explorer()
    start = pixels(shown.figure(), 40)
    for knob, value in (("width", 0.7), ("tokens", 2), ("steps", 32)):
        assert not np.array_equal(start, pixels(shown.figure(**{knob: value}), 40)), knob
