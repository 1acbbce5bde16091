"""Kicks: feedback shrinks an error by the law, a replayed plan keeps it, and both say so in numbers."""

import torch

from minildm.control.feedback import kick, rollout, transport
from minildm.control.linear_quadratic import linearize, pinned_law, riccati, soft_law
from minildm.control.systems import DoubleIntegrator


def grid(steps: int, end: float = 1.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def test_two_hundred_kicks_shrink_as_the_time_that_is_left():
    """(03.18): |e(t)| / |e(s)| = (1 - t) / (1 - s) under the pinned law; the replayed plan keeps all of e(s)."""
    rng = torch.Generator().manual_seed(3)
    for _ in range(200):
        steps, at, d = (int(torch.randint(low, high, (), generator=rng)) for low, high in ((20, 40), (0, 19), (1, 6)))
        y, start, push = torch.randn(3, 4, d, generator=rng, dtype=torch.float64)
        times = grid(steps)
        paths = kick(transport, lambda z, t, y=y: pinned_law(y, z, t), start, times, at, push, "euler")
        size = push.norm(dim=-1)
        left = (paths.closed.states - paths.plan.states)[at:].norm(dim=-1) / size
        law = ((1 - times[at:]) / (1 - times[at]))[:, None]
        assert (left - law).abs().max() < 1e-3
        kept = (paths.replayed.states - paths.plan.states)[at:]
        assert (kept - push).abs().max() < 1e-12
        assert torch.equal(paths.closed.states[:at], paths.plan.states[:at])
        assert (paths.closed.states[-1] - y).abs().max() < 1e-12


def test_kicks_under_the_soft_law_leave_a_rest_that_falls_with_its_weight():
    """(03.18), soft: |e(t)| / |e(s)| = (1 + c (1 - t)) / (1 + c (1 - s)); exact on any grid, as best controls are constant."""
    y, start, push = torch.zeros(1, 2).double(), torch.ones(1, 2).double(), torch.tensor([[0.3, -0.4]]).double()
    for c in (1.0, 10.0, 100.0):
        times, at = grid(20), 5
        paths = kick(transport, lambda z, t, c=c: soft_law(y, z, t, c), start, times, at, push, "euler")
        left = (paths.closed.states - paths.plan.states)[at:].norm(dim=-1)[:, 0] / push.norm()
        assert torch.allclose(left, (1 + c * (1 - times[at:])) / (1 + c * (1 - times[at])), atol=1e-12)


def test_states_of_any_shape_are_kicked():
    y, start, push = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    paths = kick(transport, lambda z, t: pinned_law(y, z, t), start, grid(10), 5, push, "euler")
    assert torch.allclose(paths.closed.states[8] - paths.plan.states[8], 0.4 * push)
    assert torch.allclose(paths.replayed.states[-1] - y, push)


def test_a_kicked_cart_comes_home_by_feedback_only():
    """Error under feedback obeys de/dt = (A - BK) e; replayed, de/dt = A e: a kick of the speed makes the place drift."""
    system = linearize(DoubleIntegrator(running_weight=1.0), torch.zeros(2).double(), torch.zeros(1).double())
    times, start, push = grid(240, 6.0), torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 0.5]]).double()
    law = riccati(system, times).law
    paths = kick(system.plant, law, start, times, 40, push)
    error = rollout(system.plant, law, push, times[40:]).path.states  # linear: the error is a path of its own
    assert torch.allclose((paths.closed.states - paths.plan.states)[40:], error, atol=1e-9)
    drift = (paths.replayed.states - paths.plan.states)[40:, 0]
    assert torch.allclose(drift, torch.stack((0.5 * (times[40:] - 1), torch.full((201,), 0.5).double()), dim=-1))
    assert paths.closed.states[-1].norm() < 0.05 < 2 < drift[-1].norm()
