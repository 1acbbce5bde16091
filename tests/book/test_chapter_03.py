"""The boxed equations of chapter 03, both sides evaluated; more on each stands in tests/control."""

import pytest
import torch
from torch import Tensor

from minildm.control.adjoint import adjoint, hamiltonian
from minildm.control.feedback import Rollout, cost, disturb, replay, rollout, transport
from minildm.control.hjb import best_control, residual
from minildm.control.linear_quadratic import LinearQuadratic, soft_terminal_control
from minildm.control.planning import extremal, kkt, transcribe
from minildm.control.riccati import algebraic, riccati
from minildm.control.systems import Pendulum
from minildm.dynamics.records import Trajectory
from minildm.dynamics.solvers import rk4
from minildm.viz.chapters.ch03 import fraction_left


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grid(steps: int, end: float = 1.0) -> Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def system(seed: int) -> LinearQuadratic:
    A, B, q, end = (
        draw(*shape, seed=seed + i) for i, shape in enumerate(((3, 3), (3, 2), (3, 3), (3, 3)))
    )
    return LinearQuadratic(0.5 * A, B, q @ q.T, torch.eye(2).double(), end @ end.T)


@pytest.mark.parametrize("seed", [0, 10])
def test_a_quadratic_value_with_riccati_solves_the_hjb_equation(seed):
    """(03.4): V = z'Pz / 2 with dP/dt from Riccati leaves no residual, and its best control is -Kz."""
    plant, P0, z = system(seed), draw(3, 3, seed=seed + 5), draw(6, 3, seed=seed + 6)
    P0 = P0 @ P0.T

    def value(
        z: Tensor, t: Tensor
    ) -> Tensor:  # first order around t = 0 is all that the equation asks for
        P = P0 + t[:, None, None] * plant.slope(P0)
        return torch.einsum("bi,bij,bj->b", z, P, z) / 2

    assert residual(value, plant, z, torch.zeros(6).double()).abs().max() < 1e-10
    u = best_control(plant, z, z @ P0, torch.zeros(()))
    assert torch.allclose(u, -z @ plant.gain(P0).T)
    A, B, Q, R = plant.A, plant.B, plant.Q, plant.R
    assert torch.allclose(
        -plant.slope(P0), A.T @ P0 + P0 @ A - P0 @ B @ torch.linalg.inv(R) @ B.T @ P0 + Q
    )
    assert torch.equal(riccati(plant, grid(5)).P[-1], plant.Q1)


@pytest.mark.parametrize("seed", [0, 10])
def test_algebraic_riccati_and_the_invariant_space(seed):
    """(03.5), and (03.6): the big matrix maps (I; P) to (I; P)(A - BK), which is stable."""
    plant = system(seed)
    A, B, Q = plant.A, plant.B, plant.Q
    P = algebraic(plant)
    assert (A.T @ P + P @ A - P @ B @ B.T @ P + Q).abs().max() < 1e-9
    big = torch.cat((torch.cat((A, -B @ B.T), 1), torch.cat((-Q, -A.T), 1)))
    graph, closed = torch.cat((torch.eye(3).double(), P)), A - B @ plant.gain(P)
    assert torch.allclose(big @ graph, graph @ closed, atol=1e-9)
    assert torch.linalg.eigvals(closed).real.max() < 0


def test_costate_and_slope_by_differences():
    """(03.9) and (03.10): p is what a perturbation of the start costs, dJ/du what one of a control in one interval costs."""
    pendulum, times, tiny = Pendulum(), grid(60, 2.0), 1e-5
    start, controls = draw(1, 2), torch.sin(2 * times[:-1])[:, None, None]

    def J(start: Tensor, controls: Tensor) -> Tensor:
        return cost(pendulum, rollout(pendulum.plant, replay(controls, times), start, times))

    found = adjoint(pendulum, rollout(pendulum.plant, replay(controls, times), start, times))
    for i in range(2):
        perturbation = tiny * torch.eye(2).double()[i]
        rise = (J(start + perturbation, controls) - J(start - perturbation, controls)) / (2 * tiny)
        assert rise.item() == pytest.approx(found.costates[0, 0, i].item(), rel=1e-5)
    for k in (0, 30, 59):
        perturbation = torch.zeros_like(controls)
        perturbation[k] = tiny
        rise = (J(start, controls + perturbation) - J(start, controls - perturbation)) / (2 * tiny)
        assert rise.item() == pytest.approx(found.gradient[k, 0, 0].item(), rel=1e-5)


def test_costates_are_slopes_of_the_value():
    """(03.12): along (03.11) from p(0) = P(0) z, the costate stays P(t) z(t), and dH/du = 0."""
    plant, z, times = system(3), draw(1, 3, seed=9), grid(200)
    solution = riccati(plant, times)
    path, p = extremal(plant, z, z @ solution.P[0], times).chunk(2, dim=-1)
    assert torch.allclose(p, path @ solution.P, atol=1e-6)
    u = best_control(plant, path[70], p[70], times[70])
    slope = torch.func.grad(lambda u: hamiltonian(plant, path[70], u, p[70], times[70]).sum())(u)
    assert slope.abs().max() < 1e-9


def test_the_kkt_step_is_the_lowest_point_on_its_plane():
    """(03.13): feasible, flat along the plane, and lower than other points of the plane."""
    root, C, slope, defects = draw(7, 7), draw(3, 7, seed=1), draw(7, seed=2), draw(3, seed=3)
    H = root @ root.T
    move, p = kkt(H, C, slope, defects)
    assert torch.allclose(C @ move, -defects) and torch.allclose(H @ move - C.T @ p, -slope)
    along = torch.linalg.svd(C).Vh[3:]  # directions inside the plane
    for other in move + draw(5, 4, seed=4) @ along:
        assert slope @ other + other @ H @ other / 2 > slope @ move + move @ H @ move / 2


def swing_up(times: Tensor):
    """J and the defects of the pendulum's swing-up in n equal steps, as functions of w = (z_0, u_0, z_1, ..., z_n)."""
    pendulum, n = Pendulum(weight=10.0), len(times) - 1

    def J(w: Tensor) -> Tensor:
        return (
            times[1] * w[:-2].view(n, 3)[:, 2].square().sum() / 2
            + pendulum.terminal(w[None, -2:])[0]
        )

    def c(w: Tensor) -> Tensor:
        rows, last = w[:-2].view(n, 3), w[None, -2:]
        ahead = rk4(lambda z, t: pendulum.plant(z, rows[:, 2:], t), rows[:, :2], *times[:2])
        return (
            torch.cat((rows[:, :2], last)) - torch.cat((torch.zeros(1, 2).double(), ahead))
        ).flatten()

    return J, c


def test_steps_with_the_curvature_of_the_plant_are_newton_s_and_without_it_they_are_not():
    """(03.13): with the Hessian of J - p'c lengths of steps are squared, with that of J alone they shrink by a factor."""
    n, times = 20, grid(20, 4.0)
    J, c = swing_up(times)
    line = (times / 4)[:, None, None] * torch.tensor([torch.pi, 0.0]).double()
    found = transcribe(
        Pendulum(weight=10.0), Rollout(Trajectory(times, line), torch.zeros(n, 1, 1).double())
    )
    states, controls = found.run.path.states[:, 0], found.run.controls[:, 0]
    best = torch.cat((torch.cat((states[:-1], controls), 1).flatten(), states[-1]))
    assert c(best).abs().max() < 1e-6  # transcribe keeps these constraints and minimizes this cost
    lengths = {}
    for curved in (1.0, 0.0):
        w, p = best.round(decimals=1), found.costates.flatten().round(decimals=1)
        for _ in range(8):
            S = torch.func.hessian(lambda w, p=p, curved=curved: J(w) - curved * p @ c(w))(w)
            move, p = kkt(S, torch.func.jacrev(c)(w), torch.func.grad(J)(w), c(w))
            w = w + move
            lengths.setdefault(curved, []).append(float(move.norm()))
        assert (w - best).norm() < (
            1e-6 if curved else 1e-3
        )  # both go to the plan that transcribe found
    exact, alone = lengths[1.0], lengths[0.0]
    assert exact[2] < exact[1] ** 2 < exact[0] ** 4 and exact[3] < 1e-12
    factors = torch.tensor(alone[3:]) / torch.tensor(alone[2:-1])
    assert ((factors > 0.25) & (factors < 0.4)).all()


def test_a_stationary_control_need_not_minimize_the_hamiltonian():
    """(03.11): f = u, l = (u^2 - 1)^2 / 4, Phi = 0: u = 0 is stationary at all times, with p = 0, and u = 1 costs less."""

    def H(u: Tensor, p: float = 0.0) -> Tensor:
        return (u**2 - 1) ** 2 / 4 + p * u

    for u, curvature, minimum in ((0.0, -1.0, 0.25), (1.0, 2.0, 0.0), (-1.0, 2.0, 0.0)):
        u = torch.tensor(u, dtype=torch.float64)
        assert (
            torch.func.grad(H)(u) == 0
            and torch.func.grad(torch.func.grad(H))(u) == curvature
            and H(u) == minimum
        )
    for plant, z in (
        (Pendulum(), draw(1, 2)),
        (system(3), draw(1, 3)),
    ):  # a system of the chapter: H is convex in u
        curvature_matrix = torch.func.hessian(
            lambda u, plant=plant, z=z: hamiltonian(plant, z, u, z, torch.zeros(())).sum()
        )(torch.zeros(1, plant.control).double())
        assert torch.linalg.eigvalsh(curvature_matrix.view(plant.control, plant.control)).min() > 0


def test_soft_and_pinned_controls_are_way_to_go_over_time_to_go():
    """(03.15), both forms, and (03.16) as its limit; the values stand in tests/control/test_linear_quadratic.py."""
    y, z = draw(2, 5, 3)
    for t in (0.0, 0.4, 0.9):
        for c in (0.5, 10.0):
            assert torch.allclose(soft_terminal_control(y, z, t, c), (y - z) / (1 / c + 1 - t))
        assert torch.allclose(soft_terminal_control(y, z, t, 1e12), (y - z) / (1 - t))


@pytest.mark.parametrize("c", [0.7, 20.0])
def test_fraction_of_a_disturbance_that_is_left(c):
    """(03.18): feedback by the formula, a replayed plan all of it."""
    y, start, push = draw(3, 4, 2)
    times = grid(25)
    paths = disturb(
        transport, lambda z, t: soft_terminal_control(y, z, t, c), start, times, (10, push), "euler"
    )
    fraction = fraction_left(c, times[10:], times[10])[:, None, None]
    assert torch.allclose((paths.closed.states - paths.plan.states)[10:], fraction * push)
    assert torch.allclose((paths.replayed.states - paths.plan.states)[10:], push.expand(16, 4, 2))
