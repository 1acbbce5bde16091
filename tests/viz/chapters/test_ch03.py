"""The explorer of chapter 03: its state is right without a picture, and every knob changes the picture."""

import itertools
import math

import pytest
import torch

from minildm.viz.chapters.ch03 import (
    DIRECTIONS,
    MOMENTS,
    SIZES,
    STEPS,
    SYSTEMS,
    disturbed,
    draw,
    explorer,
    fraction_left,
)


@pytest.mark.parametrize("system", SYSTEMS)
def test_state_before_and_at_the_disturbance(system):
    shown = disturbed(system, 0.3, 0.6, 135)
    assert shown.at == 12 and len(shown.times) == STEPS + 1
    assert torch.equal(shown.closed[:12], shown.plan[:12])
    assert torch.equal(shown.replayed[:12], shown.plan[:12])
    angle = torch.tensor(3 * math.pi / 4, dtype=torch.float64)
    change = 0.6 * torch.stack((angle.cos(), angle.sin()))
    assert torch.allclose(shown.closed[12] - shown.plan[12], change)
    assert shown.errors[12].tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize("system", SYSTEMS[:3])
def test_points_obey_the_formula_and_replaying_keeps_the_error(system):
    for time, size in itertools.product(MOMENTS, SIZES):
        shown = disturbed(system, time, size, 45)
        closed, replayed = shown.errors[shown.at :].T
        assert torch.allclose(closed, shown.formula, atol=1e-12)
        assert torch.allclose(replayed, torch.full_like(replayed, size), atol=1e-12)


def test_feedback_brings_cart_and_pendulum_home_and_a_plan_does_not():
    for system, factor in (("cart", 5), ("pendulum", 20)):
        shown = disturbed(system, 0.3, 0.4, 90)
        home = (shown.closed[-1] - torch.tensor(shown.task.target, dtype=torch.float64)).norm()
        assert home < 0.2 and shown.errors[-1, 1] > factor * shown.errors[-1, 0]


@pytest.mark.parametrize("system", SYSTEMS)
def test_axes_are_the_same_at_all_times_and_hold_all_paths(system):
    """A small error looks small: the largest possible one sets the scale, not the one that is shown."""
    windows = set()
    for time, size, direction in itertools.product((0.0, 0.5, 0.9), (max(SIZES), 0.2), DIRECTIONS):
        shown = disturbed(system, time, size, direction)
        low, high = (torch.tensor(corner) for corner in (shown.task.low, shown.task.high))
        for path in (shown.plan, shown.closed, shown.replayed):
            assert (path > low).all() and (path < high).all()
        assert shown.errors.max() < shown.task.far + 1e-9
        windows |= {tuple(axes.axis() for axes in draw(shown).axes)} if direction == 90 else set()
    assert len(windows) == 1


def test_fraction_left_at_its_ends():
    t = torch.linspace(0.2, 1, 5)
    assert fraction_left(math.inf, t, t[0])[-1] == 0 and fraction_left(2.0, t, t[0])[0] == 1
    almost = fraction_left(1e9, t, t[0])
    assert torch.allclose(almost, fraction_left(math.inf, t, t[0]), atol=1e-6)


def test_every_knob_changes_the_live_picture():
    live = explorer().live()
    changes = {"time": 0.5, "system": "pendulum", "size": 0.2, "direction": 135}
    for name, value in changes.items():
        before = live.view.value
        live.knobs[name].value = value
        assert live.view.value != before, name
