"""Checks of chapter 03: one step of dynamic programming, a law for sentences, costates of any steps, closed loops."""

import torch

from ..control.linear_quadratic import algebraic, linearize, pinned_law, soft_law
from ..control.systems import DoubleIntegrator
from .verdict import Must, exercise


def _randn(rng: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


@exercise("03.1", hints=("insert z' = Fz + Gu into the cost, set the derivative in u to zero, then insert the u you found",))
def check_1():
    """Identity: nothing to steer with. Oracle: the least squares of stacked square roots, any sizes."""
    rng = torch.Generator().manual_seed(1)
    for n, m in ((1, 1), (2, 1), (3, 2), (5, 5)):
        F, G, q, r, p = (_randn(rng, *shape) for shape in ((n, n), (n, m), (n, n), (m + 1, m), (n, n)))
        Q, R, P = q.T @ q, r.T @ r + torch.eye(m, dtype=torch.float64), p.T @ p
        yield (F, torch.zeros_like(G), Q, R, P), (torch.zeros(m, n, dtype=torch.float64), Q + F.T @ P @ F)
        root = torch.linalg.cholesky(R).mT  # |root u|^2 + |p (Fz + Gu)|^2 is least at u = -K z, for each unit z
        K = torch.linalg.lstsq(torch.cat((root, p @ G)), torch.cat((torch.zeros(m, n, dtype=torch.float64), p @ F))).solution
        left = p @ (F - G @ K)
        yield (F, G, Q, R, P), (K, Q + K.T @ R @ K + left.T @ left)


@exercise("03.2", hints=("t has one number for each sentence: give it as many dimensions as z before you divide",))
def check_2():
    """Any shape, a time for each sentence, finite and infinite weights, and the least time for the second."""
    rng = torch.Generator().manual_seed(2)
    for shape in ((3, 2), (4, 5, 3), (2, 3, 2, 2)):
        y, z = _randn(rng, *shape), _randn(rng, *shape)
        t = torch.rand(shape[0], generator=rng, dtype=torch.float64)
        for c in (0.5, 20.0):
            yield (y, z, t, c, 0.0), soft_law(y, z, t, c)
        yield (y, z, t, float("inf"), 0.0), pinned_law(y, z, t)
        yield (y, z, torch.ones_like(t), float("inf"), 0.05), pinned_law(y, z, torch.ones_like(t), 0.05)


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


@exercise("03.3", hints=("walk from the last step to the first; the gradient of (p * step(z)).sum() by z is the next p",))
def check_3():
    """No step at all, steps that do nothing, and steps of any length whose derivative is known."""
    rng = torch.Generator().manual_seed(3)
    z, p = _randn(rng, 2, 3, 4)
    yield ([torch.clone, torch.clone], z.expand(3, 3, 4), p), p.expand(3, 3, 4)
    for batch, d, count in ((1, 1, 0), (2, 3, 1), (4, 2, 6)):
        steps = [_Step(_randn(rng, d, d), 0.1 * k) for k in range(count)]
        states, p = [_randn(rng, batch, d)], _randn(rng, batch, d)
        for step in steps:
            states.append(step(states[-1]))
        costates = [p]
        for step, z in zip(reversed(steps), reversed(states[:-1])):
            costates.append(step.pull(z, costates[-1]))
        yield (steps, torch.stack(states), p), torch.stack(costates[::-1])


@exercise("03.4", hints=("the gain must make every eigenvalue of A - BK negative; try the signs of a spring and of a brake",))
def check_4():
    """Behavior: the cart comes home from anywhere, at no more than a given share above the least cost."""
    system = linearize(DoubleIntegrator(running_weight=1.0), torch.zeros(2).double(), torch.zeros(1).double())
    best = algebraic(system)

    def good(K: object) -> bool:
        if not isinstance(K, torch.Tensor) or K.shape != (1, 2):
            return False
        closed = system.A - system.B @ K.double()
        if torch.linalg.eigvals(closed).real.max() >= 0:
            return False
        spent = torch.linalg.solve(torch.kron(closed.T.contiguous(), torch.eye(2).double())
                                   + torch.kron(torch.eye(2).double(), closed.T.contiguous()),
                                   -(system.Q + K.double().T @ system.R @ K.double()).flatten()).view(2, 2)
        return bool(torch.linalg.eigvals(spent @ torch.linalg.inv(best)).real.max() < 1.3)

    yield (), Must("a gain (1, 2) with A - BK stable, at most 30% dearer than the best from any start", good)
