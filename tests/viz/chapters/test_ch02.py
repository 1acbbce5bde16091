"""The explorer of costs-to-go: what it shows at the end, which way its arrows point, and that every knob moves it."""

import numpy as np
import pytest
import torch

from minildm.control.grid import Grid
from minildm.control.hjb import hopf_lax
from minildm.viz.chapters.ch02 import FRACTIONS, NOISES, STAGES, explorer, scene
from minildm.viz.core import style
from minildm.viz.core.knobs import pixels


@pytest.mark.parametrize("name", STAGES)
def test_at_the_end_the_cost_to_go_is_the_terminal_cost(name):
    shown = scene(name, 1.0, 0.0)
    states = torch.cartesian_prod(shown.first, shown.second)
    gap = (shown.value.flatten() - shown.stage.system.terminal(states)).abs()
    assert (
        gap.median() < 0.02 and gap.max() < 0.25
    )  # reading between points is worst on the ridge between the wells
    assert torch.equal(shown.cut, shown.end)


def test_arrows_of_the_point_mass_go_straight_to_a_well():
    """They are u* of Hopf-Lax, up to the error of the grid, away from the ridge between the wells."""
    shown = scene("two wells", 0.5, 0.0)
    t = torch.tensor(0.5, dtype=torch.float64)
    away = shown.at.sum(1).abs() > 0.5
    control = hopf_lax(
        shown.stage.system.terminal, shown.at, t, Grid((-2.0,) * 2, (2.0,) * 2, (41, 41))
    )[1]
    assert (shown.flow - control)[away].norm(dim=1).median() < 0.15


def test_the_flow_of_the_cart_is_its_velocity_and_its_control():
    shown = scene("cart", 0.0, 0.0)
    assert torch.equal(shown.flow[:, 0], shown.at[:, 1])
    acceleration = shown.flow[:, 1] * (shown.at[:, 0] + 1.5 * shown.at[:, 1])  # back to the origin
    assert (acceleration < 0.3).all()


def test_noise_rounds_the_ridge_and_time_lowers_the_cost():
    curvatures = [scene("two wells", 0.5, g).cut.diff().diff().min() for g in NOISES]
    assert curvatures == sorted(curvatures) and curvatures[0] < 4 * curvatures[-1]
    costs = [scene("two wells", time, 0.0).cut.max() for time in FRACTIONS]
    assert costs == sorted(costs, reverse=True)


def test_every_knob_changes_the_picture():
    style.use()
    shown = explorer()
    start = pixels(shown.figure(time=0.5), 60)
    for change in ({"time": 0.1}, {"time": 0.5, "g": 0.6}, {"time": 0.5, "system": "cart"}):
        assert (
            np.abs(pixels(shown.figure(**{"time": 0.5, **change}), 60).astype(float) - start).mean()
            > 1
        )
    live = shown.live()
    for name, value in (("time", 0.2), ("g", 1.0), ("system", "pendulum")):
        before = live.view.value
        live.knobs[name].value = value
        assert live.view.value != before
