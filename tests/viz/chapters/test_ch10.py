"""The explorer of chapter 10: its words, field, flow and rates, the share of misread codes; each knob moves the picture."""

import numpy as np
import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.dynamics.solvers import integrate
from minildm.transport.expansion_rate import midpoint_expansion_rate, mixture_jacobian
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.schedules import Linear
from minildm.viz.chapters import ch10
from minildm.viz.chapters.ch10 import (
    FINE,
    STARTS,
    TIMES,
    WIDTHS,
    WORDS,
    confused,
    explorer,
    flow,
    places,
    rates,
    velocity,
)
from minildm.viz.core.knobs import pixels


def law(width: float, words: int) -> Mixture:
    weights = torch.full((words,), 1 / words, dtype=torch.float64).log()
    return Mixture(
        weights, places(width, words)[:, None], torch.full((words,), width**2, dtype=torch.float64)
    )


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("width", [0.03, 0.3, 0.9])
def test_latents_have_variance_one_and_the_field_is_that_of_their_law(width, words):
    means, z = places(width, words), torch.linspace(-3, 3, 31, dtype=torch.float64)[:, None]
    assert float(means.mean()) == pytest.approx(0, abs=1e-12)
    assert float(means.square().mean()) + width**2 == pytest.approx(1)
    for t in torch.tensor([0.0, 0.4, 0.95], dtype=torch.float64):
        assert torch.allclose(
            velocity(width, words)(z, t),
            mixture_velocity(Linear(), law(width, words))(z, t),
            atol=1e-9,
        )


@pytest.mark.parametrize("words", [2, 4])
def test_the_exact_flow_is_where_fine_steps_end(words):
    path = integrate(
        velocity(0.3, words), STARTS, torch.linspace(0, 1, 2001, dtype=torch.float64), "rk4"
    )
    assert (path.states[-1, :, 0] - flow(0.3, words)[-1]).abs().max() < 1e-5
    assert (
        (flow(0.3, words)[0] - STARTS[:, 0]).abs().max() < 1e-6 and FINE[0] == 0 and FINE[-1] == 1
    )


@pytest.mark.parametrize("width", [0.05, 0.3, 0.7])
def test_rates_are_the_jacobian_of_the_field(width):
    z = torch.randn(len(TIMES), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = torch.stack(
        [
            mixture_jacobian(Linear(), law(width, 3), row[:, None], t)[:, 0, 0]
            for row, t in zip(z, TIMES)
        ]
    )
    assert torch.allclose(rates(width, 3, z), exact, rtol=1e-8, atol=1e-8)
    two = ch10.rectifying(width, 2, 4)
    distance = float(places(width, 2).diff())
    assert torch.allclose(two.border, midpoint_expansion_rate(distance, width, TIMES), rtol=1e-9)


def test_misread_codes_are_counted():
    words, rng = 4, torch.Generator().manual_seed(0)
    for width in (0.3, 0.5):
        k = torch.randint(words, (200_000,), generator=rng)
        z = places(width, words)[k] + width * torch.randn(
            len(k), generator=rng, dtype=torch.float64
        )
        read = (z[:, None] - places(width, words)).abs().argmin(1)
        assert float((read != k).double().mean()) == pytest.approx(confused(width, words), abs=4e-3)
    everything = [confused(width, words) for width in sorted(WIDTHS)]
    assert everything == sorted(everything)


def test_each_knob_changes_the_picture():
    shown = explorer()
    start = pixels(shown.figure(), 40)
    for knob, value in (("width", 0.7), ("words", 2), ("steps", 32)):
        assert not np.array_equal(start, pixels(shown.figure(**{knob: value}), 40)), knob
