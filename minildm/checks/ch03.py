"""Checks of chapter 03: dynamic programming, minimum-energy control, costates, and gains."""

import torch

from ..control.linear_quadratic import linearize, pinned_control, soft_terminal_control
from ..control.riccati import algebraic
from ..control.systems import DoubleIntegrator
from .draws import double, rand, randn
from .rules import Small
from .verdict import Must, as_numbers, exercise


@exercise(
    "03.1",
    hints=(
        "what does the next state cost, written as a function of z and u?",
        "the sum of both costs is a parabola in u: where is its lowest point, for a given z?",
        "K solves a linear system with the curvature of that parabola; P is what u = -Kz leaves",
    ),
)
def check_1():
    """Without any control, and by least squares of stacked square roots."""
    rng = torch.Generator().manual_seed(1)
    for n, m in ((1, 1), (2, 1), (3, 2), (5, 5)):
        shapes = ((n, n), (n, m), (n, n), (m + 1, m), (n, n))
        F, G, q, r, p = (randn(rng, *shape) for shape in shapes)
        p = torch.cat((p, torch.eye(n, dtype=torch.float64)))
        Q = q.T @ q
        R = r.T @ r + torch.eye(m, dtype=torch.float64)
        P = p.T @ p
        yield (
            (F, torch.zeros_like(G), Q, R, P),
            (torch.zeros(m, n, dtype=torch.float64), Q + F.T @ P @ F),
        )
        root = torch.linalg.cholesky(
            R
        ).mT  # |root u|^2 + |p (Fz + Gu)|^2 is least at u = -K z, for each unit z
        K = torch.linalg.lstsq(
            torch.cat((root, p @ G)), torch.cat((torch.zeros(m, n, dtype=torch.float64), p @ F))
        ).solution
        left = p @ (F - G @ K)
        yield (F, G, Q, R, P), (K, Q + K.T @ R @ K + left.T @ left)


@exercise(
    "03.2",
    hints=(
        "which of the two forms of (03.15) also makes sense for an infinite c?",
        "compute the time to go first, one number for each sentence, and keep it above tau",
        "give the numbers as many dimensions as z has before you divide z by them",
    ),
)
def check_2():
    """Any shape, a time a sentence, any weight, and a least time to go that some reach."""
    rng = torch.Generator().manual_seed(2)
    for shape in ((3, 2), (4, 5, 3), (2, 3, 2, 2)):
        y, z = randn(rng, *shape), randn(rng, *shape)
        t = rand(rng, shape[0])
        for c in (0.5, 20.0):
            yield (y, z, t, c, 0.0), soft_terminal_control(y, z, t, c)
        yield (y, z, t, float("inf"), 0.0), pinned_control(y, z, t)
        yield (
            (y, z, torch.ones_like(t), float("inf"), 0.05),
            pinned_control(y, z, torch.ones_like(t), 0.05),
        )
        late = torch.linspace(0.3, 1.0, shape[0], dtype=torch.float64)
        for c, tau in ((float("inf"), 0.1), (50.0, 0.1), (5.0, 0.3)):
            left = double(*(max(1 / c + 1 - float(s), tau) for s in late))
            for k in range(
                shape[0]
            ):  # a case for each sentence, so that a fast one does not hide the others
                one = slice(k, k + 1)
                yield (y[one], z[one], late[one], c, tau), (y[one] - z[one]) / left[k]
            yield (y, z, late, c, tau), torch.stack([(a - b) / s for a, b, s in zip(y, z, left)])


class Step:
    """z -> tanh(z W + shift), a step whose derivative is known: d/dz = diag(1 - tanh^2) W'."""

    def __init__(self, W: torch.Tensor, shift: float):
        self.W, self.shift = W, shift

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ self.W + self.shift)

    def vjp(self, z: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return ((1 - self(z) ** 2) * p) @ self.W.T

    def __repr__(self) -> str:
        return f"step z -> tanh(z W + {self.shift:.3g})"


@exercise(
    "03.3",
    rule=lambda inputs: Small(most=inputs[1].numel()),
    hints=(
        "which costate is given before any step is taken back?",
        "go from the last step to the first; each needs the state before it, which is recorded",
        "autograd gives the derivative of the number p . step(z) by z without a Jacobian",
    ),
)
def check_3():
    """No step at all, steps that do nothing, and steps of any length whose derivative is known."""
    rng = torch.Generator().manual_seed(3)
    z, p = randn(rng, 2, 3, 4)
    yield ([torch.clone, torch.clone], z.expand(3, 3, 4), p), p.expand(3, 3, 4)
    for batch, d, count in ((1, 1, 0), (2, 4, 1), (3, 8, 3)):
        steps = [Step(randn(rng, d, d), 0.1 * k) for k in range(count)]
        states, p = [randn(rng, batch, d)], randn(rng, batch, d)
        for step in steps:
            states.append(step(states[-1]))
        costates = [p]
        for step, z in zip(reversed(steps), reversed(states[:-1])):
            costates.append(step.vjp(z, costates[-1]))
        yield (steps, torch.stack(states), p), torch.stack(costates[::-1])


@exercise(
    "03.4",
    hints=(
        "in which direction should the force be when the cart stands to the right of home?",
        "u = -Kz: its first number acts like a spring, the second like a brake",
        "movement 1 found the best two numbers for this cart; round ones near them lose little",
    ),
)
def check_4():
    """The cart comes home from anywhere, at a cost not far above the least one."""
    system = linearize(
        DoubleIntegrator(running_weight=1.0), torch.zeros(2).double(), torch.zeros(1).double()
    )
    best = algebraic(system)

    def good(got: object) -> bool:
        K = as_numbers(got)
        if K is None or K.shape != (1, 2):
            return False
        K = K.double()
        closed = system.A - system.B @ K
        if torch.linalg.eigvals(closed).real.max() >= 0:
            return False
        cost = torch.linalg.solve(
            torch.kron(closed.T.contiguous(), torch.eye(2).double())
            + torch.kron(torch.eye(2).double(), closed.T.contiguous()),
            -(system.Q + K.T @ system.R @ K).flatten(),
        ).view(2, 2)
        return bool(torch.linalg.eigvals(cost @ torch.linalg.inv(best)).real.max() < 1.3)

    yield (
        (),
        Must(
            "a gain (1, 2) with A - BK stable that costs at most 30% more than the best",
            good,
        ),
    )
