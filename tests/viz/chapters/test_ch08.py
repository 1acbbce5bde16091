"""The explorer of chapter 08: its field, its exact flow, its grids, and that each knob changes the picture."""

import math

import numpy as np
import pytest
import torch

from minildm import UserError
from minildm.dynamics.solvers import integrate
from minildm.transport.grids import log_snr_grid
from minildm.transport.mixtures import marginal, mixture_velocity, posterior
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Linear
from minildm.viz.chapters import ch08
from minildm.viz.chapters.ch08 import (
    FINE,
    GRIDS,
    NFE,
    STARTS,
    STDS,
    STEPS,
    curves,
    error,
    flow,
    time_grid,
    velocity,
)
from minildm.viz.core.knobs import pixels
from minildm.viz.core.line import cdf


@pytest.mark.parametrize("std", STDS)
def test_the_field_is_that_of_the_mixture(std):
    z = torch.linspace(-4, 4, 33, dtype=torch.float64)[:, None]
    for t in torch.tensor([0.0, 0.3, 0.9, 0.999], dtype=torch.float64):
        assert torch.allclose(
            velocity(std)(z, t),
            mixture_velocity(Linear(), two_modes(std))(z, t),
            rtol=1e-9,
            atol=1e-9,
        )


@pytest.mark.parametrize("std", [0.1, 0.5])
def test_the_exact_flow_is_where_fine_steps_end_and_keeps_quantiles(std):
    path = integrate(velocity(std), STARTS, torch.linspace(0, 1, 2001, dtype=torch.float64), "rk4")
    assert (path.states[::20, :, 0] - flow(std)).abs().max() < 1e-5
    ranks = cdf(marginal(Linear(), two_modes(std), FINE[60]), flow(std)[60])
    assert torch.allclose(ranks, torch.special.ndtr(STARTS[:, 0]), atol=1e-9)


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("steps", [3, 8, 64])
def test_grids_rise_from_noise_to_data(name, steps):
    times = time_grid(name, steps, 0.3)
    assert len(times) == steps + 1 and times[0] == 0 and times[-1] == 1 and (times.diff() > 0).all()
    if name == "log-SNR":
        assert torch.allclose(times, log_snr_grid(Linear(), steps).double(), atol=1e-6)


def test_the_warped_grid_has_equal_falls_of_the_loss():
    """By drawing: the mean squared error of the best prediction falls by the same amount in each step."""
    data, rng = two_modes(0.3), torch.Generator().manual_seed(0)
    z1 = data.sample(200_000, rng)
    z0 = torch.randn(z1.shape, generator=rng, dtype=torch.float64)
    losses = [
        (posterior(Linear(), data, t * z1 + (1 - t) * z0, t)[0] - z1).square().mean()
        for t in time_grid("warped", 20, 0.3)[:19:3]
    ]
    falls = -torch.stack(losses).diff()
    assert (falls / falls.mean() - 1).abs().max() < 0.03


def test_errors_fall_with_the_order_of_the_solver():
    for solver, order in (("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)):
        *_, coarse, fine = curves("uniform", 1.0)[solver]
        assert math.log(coarse / fine) / math.log(64 / 48) == pytest.approx(order, abs=0.15)
    shown = ch08.stepping(16, "heun", "uniform", 0.5)
    assert shown.error == error(shown.path, 0.5) == shown.curves["heun"][sorted(STEPS).index(16)]
    assert set(shown.curves) == set(NFE)


def test_every_knob_changes_the_picture():
    explorer = ch08.explorer()
    first = pixels(explorer.figure(), 40)
    for name, values in explorer.knobs.items():
        assert not np.array_equal(first, pixels(explorer.figure(**{name: values[1]}), 40)), name
    with pytest.raises(UserError):
        explorer.figure(grid="none")
