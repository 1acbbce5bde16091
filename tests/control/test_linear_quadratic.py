"""Riccati equations against scipy and simulation, and the closed forms against the equation that they must solve."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import solve_continuous_are

from minildm.control.feedback import cost, rollout
from minildm.control.hjb import residual
from minildm.control.linear_quadratic import (
    LinearQuadratic,
    linearize,
    pinned_control,
    pinned_value,
    soft_terminal_control,
    soft_terminal_value,
)
from minildm.control.riccati import algebraic, riccati
from minildm.control.systems import DoubleIntegrator, Pendulum, PointMass
from minildm.dynamics.solvers import euler_maruyama
from minildm.errors import UserError


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(steps: int, end: float = 1.0) -> torch.Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def random_system(d: int, m: int, seed: int = 0) -> LinearQuadratic:
    """Unstable and coupled: modes of rate about 1, costs of everything."""
    A, B, q, r, end = (
        randn(*shape, seed=seed + i) / math.sqrt(d)
        for i, shape in enumerate(((d, d), (d, m), (d, d), (m, m), (d, d)))
    )
    one = torch.eye(d, dtype=torch.float64)
    return LinearQuadratic(
        A, B, q @ q.T + 0.1 * one, r @ r.T + 0.5 * torch.eye(m).double(), end @ end.T + 0.1 * one
    )


def scalar(c: float) -> LinearQuadratic:
    """The point on a line with unit effort and terminal weight c."""
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    return LinearQuadratic(zero, one, zero, one, c * one)


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_terminal_control_values_solve_the_hjb_equation(d, seed):
    """(03.15) and (03.16): dV/dt - |grad V|^2 / 2 + g^2/2 Lap V = 0, by autograd."""
    y, z = randn(20, d, seed=seed), randn(20, d, seed=10 + seed)
    t = torch.rand(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9
    system = PointMass(state=d)
    assert residual(lambda z, t: pinned_value(y, z, t), system, z, t).abs().max() < 1e-10
    for c in (0.5, 10.0, 100.0):
        for g in (0.0, 0.7):
            assert (
                residual(lambda z, t, c=c, g=g: soft_terminal_value(y, z, t, c, g), system, z, t, g)
                .abs()
                .max()
                < 1e-10
            )


@pytest.mark.parametrize("shape", [(5, 1), (5, 4, 3)])
def test_controls_are_the_downhill_gradients_of_their_values(shape):
    """(03.15) and (03.16): u = -grad V, for states of any shape and a time for each."""
    y, z, t = randn(*shape, seed=1), randn(*shape, seed=2), grid(5)[:-1]
    for value, control in (
        (lambda z: pinned_value(y, z, t), pinned_control(y, z, t)),
        (lambda z: soft_terminal_value(y, z, t, 7.0, 0.3), soft_terminal_control(y, z, t, 7.0)),
    ):
        assert torch.allclose(
            -torch.func.grad(lambda z, value=value: value(z).sum())(z), control, atol=1e-12
        )


def test_the_soft_terminal_control_tends_to_the_one_to_a_fixed_end():
    """(03.16): c to infinity, at a rate of one over c."""
    y, z, t = randn(6, 2, seed=1), randn(6, 2, seed=2), 0.4
    gaps = [
        (soft_terminal_control(y, z, t, c) - pinned_control(y, z, t)).abs().max().item()
        for c in (1e3, 1e4, 1e5)
    ]
    assert all(9.8 < coarse / fine < 10.2 for coarse, fine in pairwise(gaps))
    assert torch.isfinite(soft_terminal_control(y, z, 1.0, 1e5)).all()


def test_a_least_time_bounds_the_pinned_control():
    y, z = randn(6, 2, seed=1), randn(6, 2, seed=2)
    assert torch.allclose(pinned_control(y, z, 1.0, tau=0.05), 20 * (y - z))
    assert torch.equal(pinned_control(y, z, 0.5, tau=0.05), pinned_control(y, z, 0.5))


@pytest.mark.parametrize("c", [0.5, 10.0])
def test_the_soft_terminal_control_is_the_scalar_riccati_equation(c):
    solution, y, z = riccati(scalar(c), grid(400)), torch.zeros(4, 1).double(), randn(4, 1)
    for t in (0.0, 0.1234, 0.5, 0.99, 1.0):
        assert torch.allclose(solution.policy(z, t), soft_terminal_control(y, z, t, c), atol=1e-8)
        assert torch.allclose(
            solution.value(z, t, 0.7), soft_terminal_value(y, z, t, c, 0.7), atol=1e-8
        )


def test_order_of_the_riccati_solution_on_its_grid_and_between():
    errors = []
    for steps in (10, 20, 40):
        solution, t = riccati(scalar(2.0), grid(steps)), torch.tensor(0.123, dtype=torch.float64)
        errors.append(
            [
                abs(solution.at(at)[0].item() - 2 / (1 + 2 * (1 - at)))
                for at in (torch.zeros(()).double(), t)
            ]
        )
    for coarse, fine in pairwise(errors):
        assert all(math.log2(a / b) > 3.6 for a, b in zip(coarse, fine))


def by_scipy(system: LinearQuadratic) -> tuple[torch.Tensor, float]:
    """P(0) and the integral of the trace, with scipy's integrator at tolerances of 1e-11."""
    A, B, Q, Q1 = (m.numpy() for m in (system.A, system.B, system.Q, system.Q1))
    n, inverse = len(A), torch.linalg.inv(system.R).numpy()

    def slope(s, both):  # s = 1 - t
        P = both[:-1].reshape(n, n)
        return [*(A.T @ P + P @ A - P @ B @ inverse @ B.T @ P + Q).ravel(), P.trace()]

    end = solve_ivp(slope, (0, 1), [*Q1.ravel(), 0.0], "DOP853", rtol=1e-11, atol=1e-11).y[:, -1]
    return torch.from_numpy(end[:-1].reshape(n, n)), end[-1]


@pytest.mark.parametrize("d", [2, 16, 64])
def test_stochastic_value_by_riccati_by_scipy_and_by_simulation(d):
    """(03.4) and the noise term: V(z, 0) against scipy to 1e-6 and against 1000 noisy rollouts under the feedback."""
    system, g, many = random_system(d, max(1, d // 2)), 0.5, 1000
    times, start = grid(400), randn(1, d, seed=7) / math.sqrt(d)
    solution = riccati(system, times)
    P, traces = by_scipy(system)
    value, oracle = (
        solution.value(start, 0.0, g).item(),
        ((start @ P @ start.T) / 2 + g**2 / 2 * traces).item(),
    )
    assert value == pytest.approx(oracle, rel=1e-6)
    assert (solution.P[0] - P).abs().max() < 1e-6
    runs = rollout(
        system.plant,
        solution.policy,
        start.expand(many, d),
        times,
        euler_maruyama(g),
        torch.Generator().manual_seed(d),
    )
    spent = cost(system, runs)
    assert abs(spent.mean().item() - value) < 2 * spent.std().item() / math.sqrt(many)


def test_a_long_horizon_reaches_the_algebraic_solution():
    """(03.5): both sides, and scipy's solver, to 1e-6; a horizon is long beside the slowest mode that is left."""
    for system in (
        random_system(3, 2),
        random_system(5, 1, seed=3),
        linearize(
            DoubleIntegrator(running_weight=1.0), torch.zeros(2).double(), torch.zeros(1).double()
        ),
    ):
        P = algebraic(system)
        slowest = -torch.linalg.eigvals(system.A - system.B @ system.gain(P)).real.max().item()
        assert slowest > 0
        solution = riccati(system, grid(1200, 12 / slowest))
        oracle = solve_continuous_are(
            system.A.numpy(), system.B.numpy(), system.Q.numpy(), system.R.numpy()
        )
        assert system.slope(P).abs().max() < 1e-9
        assert (P - torch.from_numpy(oracle)).abs().max() < 1e-8
        z = randn(4, system.state)
        assert (solution.policy(z, 0.0) + z @ system.gain(P).T).abs().max() < 1e-6


def test_a_batch_of_systems_is_solved_as_each():
    each = [random_system(3, 2, seed=seed) for seed in (0, 20)]
    both = LinearQuadratic(
        *(torch.stack([getattr(one, name) for one in each]) for name in ("A", "B", "Q", "R", "Q1"))
    )
    z, solution = randn(2, 3), riccati(both, grid(20))
    for i, one in enumerate(each):
        alone = riccati(one, grid(20))
        assert torch.allclose(solution.policy(z, 0.33)[i], alone.policy(z[i : i + 1], 0.33)[0])
        assert torch.allclose(
            solution.value(z, 0.33, 0.5)[i], alone.value(z[i : i + 1], 0.33, 0.5)[0]
        )
        assert torch.allclose(algebraic(both)[i], algebraic(one))


def test_the_value_is_what_the_feedback_spends_and_other_gains_spend_more():
    """(03.4): no noise."""
    system, times, start = random_system(3, 2), grid(400), randn(5, 3, seed=4)
    solution = riccati(system, times)
    spent = cost(system, rollout(system.plant, solution.policy, start, times))
    assert torch.allclose(spent, solution.value(start, 0.0), rtol=1e-4)
    for change in (0.7, 1.4):
        assert (
            cost(
                system,
                rollout(
                    system.plant, lambda z, t, k=change: k * solution.policy(z, t), start, times
                ),
            )
            > spent
        ).all()


def test_linearized_pendulum_upright_and_hanging():
    for angle, sign in ((math.pi, 1.0), (0.0, -1.0)):
        near = linearize(
            Pendulum(effort=2.0), torch.tensor([angle, 0.0]).double(), torch.zeros(1).double()
        )
        assert torch.allclose(near.A, torch.tensor([[0, 1], [sign, -0.1]]).double())
        assert torch.equal(near.B, torch.tensor([[0.0], [1.0]]).double()) and near.R.item() == 2.0
        assert torch.allclose(near.Q1, torch.diag(torch.tensor([10 * sign, 10.0])).double())
    with pytest.raises(UserError, match="linearize where f"):
        linearize(Pendulum(), torch.tensor([1.0, 0.0]), torch.zeros(1))


@pytest.mark.parametrize(
    ("A", "B", "Q"),
    [
        (
            [[1.0, 0.0], [0.0, -1.0]],
            [[0.0], [1.0]],
            [[1.0, 0.0], [0.0, 1.0]],
        ),  # the control does not reach what grows
        (
            [[0.0, 1.0], [0.0, 0.0]],
            [[0.0], [1.0]],
            [[0.0, 0.0], [0.0, 0.0]],
        ),  # drifting away costs nothing
        ([[0.0, 1.0], [-1.0, 0.0]], [[0.0], [0.0]], [[1.0, 0.0], [0.0, 1.0]]),  # it swings for ever
    ],
)
def test_no_algebraic_solution_where_no_feedback_brings_rest(A, B, Q):
    A, B, Q = (torch.tensor(rows, dtype=torch.float64) for rows in (A, B, Q))
    with pytest.raises(UserError, match="steers this plant to rest"):
        algebraic(LinearQuadratic(A, B, Q, torch.eye(1).double(), Q))
