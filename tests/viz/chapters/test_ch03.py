"""The kick test's state is right without a picture, and every knob changes the picture."""

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
    draw,
    explorer,
    kicked,
    share_left,
)


@pytest.mark.parametrize("system", SYSTEMS)
def test_state_before_and_at_the_kick(system):
    shown = kicked(system, 0.3, 0.6, 135)
    assert shown.at == 12 and len(shown.times) == STEPS + 1
    assert torch.equal(shown.closed[:12], shown.plan[:12]) and torch.equal(
        shown.replayed[:12], shown.plan[:12]
    )
    push = 0.6 * torch.tensor(
        [math.cos(3 * math.pi / 4), math.sin(3 * math.pi / 4)], dtype=torch.float64
    )
    assert torch.allclose(shown.closed[12] - shown.plan[12], push)
    assert shown.errors[12].tolist() == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize("system", SYSTEMS[:3])
def test_points_obey_the_formula_and_replaying_keeps_the_error(system):
    for time, size in itertools.product(MOMENTS, SIZES):
        shown = kicked(system, time, size, 45)
        assert torch.allclose(shown.errors[shown.at :, 0], shown.law, atol=1e-12)
        assert torch.allclose(
            shown.errors[shown.at :, 1], torch.full_like(shown.law, size), atol=1e-12
        )


def test_feedback_brings_cart_and_pendulum_home_and_a_plan_does_not():
    for system, factor in (("cart", 5), ("pendulum", 20)):
        shown = kicked(system, 0.3, 0.4, 90)
        home = (shown.closed[-1] - torch.tensor(shown.task.target, dtype=torch.float64)).norm()
        assert home < 0.2 and shown.errors[-1, 1] > factor * shown.errors[-1, 0]


@pytest.mark.parametrize("system", SYSTEMS)
def test_axes_are_the_same_at_all_times_and_hold_all_paths(system):
    """A small damage looks small: what a system may suffer sets the scale, not what it suffers."""
    windows = set()
    for time, size, direction in itertools.product((0.0, 0.5, 0.9), (max(SIZES), 0.2), DIRECTIONS):
        shown = kicked(system, time, size, direction)
        low, high = (torch.tensor(corner) for corner in (shown.task.low, shown.task.high))
        for path in (shown.plan, shown.closed, shown.replayed):
            assert (path > low).all() and (path < high).all()
        assert shown.errors.max() < shown.task.far + 1e-9
        windows |= {tuple(axes.axis() for axes in draw(shown).axes)} if direction == 90 else set()
    assert len(windows) == 1


def test_share_left_at_its_ends():
    t = torch.linspace(0.2, 1, 5)
    assert share_left(math.inf, t, t[0])[-1] == 0 and share_left(2.0, t, t[0])[0] == 1
    assert torch.allclose(share_left(1e9, t, t[0]), share_left(math.inf, t, t[0]), atol=1e-6)


def test_every_knob_changes_the_live_picture():
    live = explorer().live()
    for name, value in (
        ("time", MOMENTS[5]),
        ("system", "pendulum"),
        ("size", SIZES[2]),
        ("direction", DIRECTIONS[3]),
    ):
        before = live.view.value
        live.knobs[name].value = value
        assert live.view.value != before, name
