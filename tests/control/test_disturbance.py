"""Disturbances: feedback shrinks an error as the formula says, and a replayed plan keeps it."""

import torch

from minildm.control.feedback import disturb, rollout, transport
from minildm.control.linear_quadratic import linearize, pinned_control, soft_terminal_control
from minildm.control.riccati import riccati
from minildm.control.systems import DoubleIntegrator
from minildm.dynamics.solvers import euler_maruyama


def grid(steps: int, end: float = 1.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def test_two_hundred_disturbances_shrink_as_the_time_that_is_left():
    """(03.18): |e(t)| / |e(s)| = (1 - t) / (1 - s) under the pinned control; the replayed plan keeps all of e(s)."""
    rng = torch.Generator().manual_seed(3)
    for _ in range(200):
        steps, at, d = (
            int(torch.randint(low, high, (), generator=rng))
            for low, high in ((20, 40), (0, 19), (1, 6))
        )
        y, start, change = torch.randn(3, 4, d, generator=rng, dtype=torch.float64)
        times = grid(steps)
        paths = disturb(
            transport,
            lambda z, t, y=y: pinned_control(y, z, t),
            start,
            times,
            (at, change),
            "euler",
        )
        size = change.norm(dim=-1)
        left = (paths.closed.states - paths.plan.states)[at:].norm(dim=-1) / size
        expected = ((1 - times[at:]) / (1 - times[at]))[:, None]
        assert (left - expected).abs().max() < 1e-3
        kept = (paths.replayed.states - paths.plan.states)[at:]
        assert (kept - change).abs().max() < 1e-12
        assert torch.equal(paths.closed.states[:at], paths.plan.states[:at])
        assert (paths.closed.states[-1] - y).abs().max() < 1e-12


def test_disturbances_under_the_soft_terminal_control_leave_less_the_larger_its_weight():
    """(03.18), soft: |e(t)| / |e(s)| = (1 + c (1 - t)) / (1 + c (1 - s)); exact on any grid, as best controls are constant."""
    y, start, change = (
        torch.zeros(1, 2).double(),
        torch.ones(1, 2).double(),
        torch.tensor([[0.3, -0.4]]).double(),
    )
    for c in (1.0, 10.0, 100.0):
        times, at = grid(20), 5
        paths = disturb(
            transport,
            lambda z, t, c=c: soft_terminal_control(y, z, t, c),
            start,
            times,
            (at, change),
            "euler",
        )
        left = (paths.closed.states - paths.plan.states)[at:].norm(dim=-1)[:, 0] / change.norm()
        assert torch.allclose(
            left, (1 + c * (1 - times[at:])) / (1 + c * (1 - times[at])), atol=1e-12
        )


def test_states_of_any_shape_are_disturbed():
    y, start, change = torch.randn(
        3, 2, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    paths = disturb(
        transport, lambda z, t: pinned_control(y, z, t), start, grid(10), (5, change), "euler"
    )
    assert torch.allclose(paths.closed.states[8] - paths.plan.states[8], 0.4 * change)
    assert torch.allclose(paths.replayed.states[-1] - y, change)


def test_a_disturbed_cart_comes_home_by_feedback_only():
    """Error under feedback obeys de/dt = (A - BK) e; replayed, de/dt = A e: a disturbance of the speed makes the place drift."""
    system = linearize(
        DoubleIntegrator(running_weight=1.0), torch.zeros(2).double(), torch.zeros(1).double()
    )
    times, start, change = (
        grid(240, 6.0),
        torch.tensor([[1.0, 0.0]]).double(),
        torch.tensor([[0.0, 0.5]]).double(),
    )
    policy = riccati(system, times).policy
    paths = disturb(system.plant, policy, start, times, (40, change))
    error = rollout(
        system.plant, policy, change, times[40:]
    ).path.states  # linear: the error is a path of its own
    assert torch.allclose((paths.closed.states - paths.plan.states)[40:], error, atol=1e-9)
    drift = (paths.replayed.states - paths.plan.states)[40:, 0]
    assert torch.allclose(
        drift, torch.stack((0.5 * (times[40:] - 1), torch.full((201,), 0.5).double()), dim=-1)
    )
    assert paths.closed.states[-1].norm() < 0.05 < 2 < drift[-1].norm()


def test_a_disturbance_of_zero_gives_one_path_three_times_even_where_steps_draw():
    start = torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for change in (torch.zeros(3, 2).double(), torch.zeros_like):
        paths = disturb(
            transport,
            lambda z, t: -z,
            start,
            grid(10),
            (4, change),
            euler_maruyama(0.5),
            torch.Generator().manual_seed(2),
        )
        assert torch.equal(paths.closed.states, paths.plan.states) and torch.equal(
            paths.replayed.states, paths.plan.states
        )


def test_all_three_paths_get_the_noise_that_a_rollout_gets():
    """Under additive noise and a linear policy the error is the one without noise: de/dt = -e, or de/dt = 0 replayed."""
    start, change = torch.randn(
        2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    step = euler_maruyama(0.5)
    paths = disturb(
        transport,
        lambda z, t: -z,
        start,
        grid(10),
        (4, change),
        step,
        torch.Generator().manual_seed(2),
    )
    plan = rollout(
        transport, lambda z, t: -z, start, grid(10), step, torch.Generator().manual_seed(2)
    )
    assert torch.equal(paths.plan.states, plan.path.states) and torch.equal(
        paths.controls[0], plan.controls
    )
    left = (0.9 ** torch.arange(7, dtype=torch.float64))[:, None, None] * change
    assert torch.allclose((paths.closed.states - paths.plan.states)[4:], left)
    assert torch.allclose((paths.replayed.states - paths.plan.states)[4:], change.expand(7, 3, 2))


def test_parts_with_times_of_their_own_shrink_an_error_by_their_own_times():
    """(03.18) by parts: each shrinks by (1 - t)/(1 - s) of its own times; the replay finds its controls by the mean time."""
    y, start, change = torch.randn(
        3, 2, 3, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    times = grid(10)[:, None, None, None] ** torch.tensor([1.0, 1.5, 2.0], dtype=torch.float64)[
        :, None
    ].expand(2, 3, 1)
    paths = disturb(
        transport, lambda z, t: pinned_control(y, z, t), start, times, (5, change), "euler"
    )
    left = (1 - times[5:]) / (1 - times[5])
    assert torch.allclose((paths.closed.states - paths.plan.states)[5:], left * change, atol=1e-9)
    assert torch.allclose(
        (paths.replayed.states - paths.plan.states)[5:], change.expand(6, 2, 3, 1)
    )


def test_a_displacement_may_depend_on_the_state_and_states_may_be_tokens():
    tokens, times = torch.tensor([[0, 0, 0]]), torch.linspace(0, 1, 4)

    def policy(z, t):
        """Write one more than the token before, from left to right."""
        k, u = round(3 * float(t)), torch.full_like(z, -1)
        u[:, k] = (z[:, k - 1] if k else 4) + 1
        return u

    def write(field, z, t, s, rng=None):
        u = field(z, t)
        return u.where(u >= 0, z)

    paths = disturb(
        transport, policy, tokens, times, (2, lambda z: torch.where(z == 6, 3, 0)), write
    )
    ends = [path.states[-1].tolist() for path in (paths.plan, paths.closed, paths.replayed)]
    assert ends == [[[5, 6, 7]], [[5, 9, 10]], [[5, 9, 7]]]
