"""Checks of chapter 03: one step of dynamic programming, a law for sentences, costates of any
steps, closed loops.
"""

import torch

from ..control.linear_quadratic import algebraic, linearize, pinned_law, soft_law
from ..control.systems import DoubleIntegrator
from .rules import Small
from .verdict import Must, as_numbers, exercise


def _randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@exercise(
    "03.1",
    hints=(
        "what does the next state cost, written as a function of z and u?",
        "the sum of both costs is a parabola in u: where is its lowest point, for a given z?",
        "K comes from a linear system whose matrix is the curvature of that parabola; P is the form in z that u = -Kz leaves",
    ),
)
def check_1():
    """Identity: nothing to steer with. Oracle: the least squares of stacked square roots, any
    sizes.
    """
    rng = torch.Generator().manual_seed(1)
    for n, m in ((1, 1), (2, 1), (3, 2), (5, 5)):
        F, G, q, r, p = (
            _randn(rng, *shape) for shape in ((n, n), (n, m), (n, n), (m + 1, m), (n, n))
        )
        p = torch.cat((p, torch.eye(n, dtype=torch.float64)))
        Q, R, P = q.T @ q, r.T @ r + torch.eye(m, dtype=torch.float64), p.T @ p
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
        "a number for each sentence must get as many dimensions as z has before z can be divided by it",
    ),
)
def check_2():
    """Any shape, a time for each sentence, finite and infinite weights, and a least time that binds
    in some sentences.
    """
    rng = torch.Generator().manual_seed(2)
    for shape in ((3, 2), (4, 5, 3), (2, 3, 2, 2)):
        y, z = _randn(rng, *shape), _randn(rng, *shape)
        t = torch.rand(shape[0], generator=rng, dtype=torch.float64)
        for c in (0.5, 20.0):
            yield (y, z, t, c, 0.0), soft_law(y, z, t, c)
        yield (y, z, t, float("inf"), 0.0), pinned_law(y, z, t)
        yield (
            (y, z, torch.ones_like(t), float("inf"), 0.05),
            pinned_law(y, z, torch.ones_like(t), 0.05),
        )
        late = torch.linspace(0.3, 1.0, shape[0], dtype=torch.float64)
        for c, tau in ((float("inf"), 0.1), (50.0, 0.1), (5.0, 0.3)):
            left = torch.tensor([max(1 / c + 1 - float(s), tau) for s in late], dtype=torch.float64)
            for k in range(
                shape[0]
            ):  # a case for each sentence, so that a fast one does not hide the others
                one = slice(k, k + 1)
                yield (y[one], z[one], late[one], c, tau), (y[one] - z[one]) / left[k]
            yield (y, z, late, c, tau), torch.stack([(a - b) / s for a, b, s in zip(y, z, left)])


class _Step:
    """z -> tanh(z W + shift), a step whose derivative is known: d/dz = diag(1 - tanh^2) W'."""

    def __init__(self, W: torch.Tensor, shift: float):
        self.W, self.shift = W, shift

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z @ self.W + self.shift)

    def pull(self, z: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return ((1 - self(z) ** 2) * p) @ self.W.T

    def __repr__(self) -> str:
        return f"step z -> tanh(z W + {self.shift:.3g})"


@exercise(
    "03.3",
    rule=lambda inputs: Small(most=inputs[1].numel()),
    hints=(
        "which costate is known before any step has been looked at?",
        "walk from the last step to the first; each needs the state before it, which the record has",
        "the derivative of the number p . step(z) by z is what you need, and autograd gives it without a Jacobian",
    ),
)
def check_3():
    """No step at all, steps that do nothing, and steps of any length whose derivative is known."""
    rng = torch.Generator().manual_seed(3)
    z, p = _randn(rng, 2, 3, 4)
    yield ([torch.clone, torch.clone], z.expand(3, 3, 4), p), p.expand(3, 3, 4)
    for batch, d, count in ((1, 1, 0), (2, 4, 1), (3, 8, 3)):
        steps = [_Step(_randn(rng, d, d), 0.1 * k) for k in range(count)]
        states, p = [_randn(rng, batch, d)], _randn(rng, batch, d)
        for step in steps:
            states.append(step(states[-1]))
        costates = [p]
        for step, z in zip(reversed(steps), reversed(states[:-1])):
            costates.append(step.pull(z, costates[-1]))
        yield (steps, torch.stack(states), p), torch.stack(costates[::-1])


@exercise(
    "03.4",
    hints=(
        "in which direction should the force be when the cart stands to the right of home?",
        "u = -Kz: the first number answers the position, like a spring, the second the velocity, like a brake",
        "movement 1 found the best two numbers for this cart; round ones near them lose little",
    ),
)
def check_4():
    """Behavior: the cart comes home from anywhere, at no more than a given share above the least
    cost.
    """
    system = linearize(
        DoubleIntegrator(running_weight=1.0), torch.zeros(2).double(), torch.zeros(1).double()
    )
    best = algebraic(system)

    def good(K: object) -> bool:
        K = as_numbers(K)
        if K is None or K.shape != (1, 2):
            return False
        K = K.double()
        closed = system.A - system.B @ K
        if torch.linalg.eigvals(closed).real.max() >= 0:
            return False
        spent = torch.linalg.solve(
            torch.kron(closed.T.contiguous(), torch.eye(2).double())
            + torch.kron(torch.eye(2).double(), closed.T.contiguous()),
            -(system.Q + K.T @ system.R @ K).flatten(),
        ).view(2, 2)
        return bool(torch.linalg.eigvals(spent @ torch.linalg.inv(best)).real.max() < 1.3)

    yield (
        (),
        Must(
            "a gain (1, 2) with A - BK stable, at most 30% dearer than the best from any start",
            good,
        ),
    )
