"""Checks of chapter 01: the best plan of a point, credit carried backwards, a step that keeps area, a cart brought to rest."""

import torch
from torch import Tensor

from ..control.gradients import plan_cost, slope
from ..control.systems import DoubleIntegrator
from .verdict import Must, exercise


@exercise("01.1", hints=("the best control is constant; set the derivative of (01.5) to zero, then insert it",))
def check_1():
    """Control and cost of the optimum, in any dimension; a start on the target costs nothing; no time, no help."""
    rng = torch.Generator().manual_seed(1)
    for batch, state in ((1, 1), (4, 2), (3, 5)):
        start, target = torch.randn(2, batch, state, generator=rng, dtype=torch.float64)
        for _ in range(4):
            effort, weight, time = (0.1 + 3 * torch.rand(3, generator=rng, dtype=torch.float64)).tolist()
            u = weight * (target - start) / (effort + weight * time)
            spent = effort * time * u.square().sum(1) / 2
            missed = weight * (start + time * u - target).square().sum(1) / 2
            yield (start, target, effort, weight, time), (u, spent + missed)
        yield (start, start, 1.0, 2.0, 3.0), (torch.zeros_like(start), torch.zeros_like(start[:, 0]))
        yield (start, target, 1.0, 2.0, 0.0), (2 * (target - start), (target - start).square().sum(1))


@exercise("01.2", hints=("begin with p = c z_n; (q, v) goes to (q + h v, v + h u), so p_q passes h p_q on to p_v",))
def check_2():
    """The gradient of a cart's plan under Euler, against autograd through the package's rollout."""
    rng = torch.Generator().manual_seed(2)
    for steps, batch in ((1, 1), (2, 3), (7, 4), (20, 2)):
        plan = torch.randn(steps, batch, generator=rng, dtype=torch.float64)
        start = torch.randn(batch, 2, generator=rng, dtype=torch.float64)
        for effort, weight, time in ((1.0, 10.0, 2.0), (0.0, 1.0, 1.0), (2.0, 0.0, 3.0)):
            times = torch.linspace(0, time, steps + 1, dtype=torch.float64)
            price = plan_cost(DoubleIntegrator(effort=effort, weight=weight), start, times, "euler")
            yield (plan, start, time / steps, effort, weight), slope(price, plan[..., None])[1][..., 0]


@exercise("01.3", hints=("use the new velocity to move the angle: v' = v - h sin q, then q' = q + h v'",))
def check_3():
    """A step of the free pendulum that is first order and keeps areas: the determinant of its derivative is one."""
    rng = torch.Generator().manual_seed(3)
    for h in (0.3, 0.1, 0.01):
        z = torch.randn(6, 2, generator=rng, dtype=torch.float64).requires_grad_()

        def near(got, z=z, h=h) -> bool:
            ahead = z + h * torch.stack((z[:, 1], -torch.sin(z[:, 0])), dim=1)
            return isinstance(got, Tensor) and got.shape == z.shape and bool(((got - ahead).abs() <= 2 * h**2).all())

        def keeps_area(got, z=z, near=near) -> bool:
            if not near(got) or not got.requires_grad:
                return False
            rows = [torch.autograd.grad(got[:, i].sum(), z, retain_graph=True, allow_unused=True)[0] for i in (0, 1)]
            return all(row is not None for row in rows) and torch.allclose(
                torch.linalg.det(torch.stack(rows, dim=1)), torch.ones(6, dtype=torch.float64), rtol=1e-12)

        yield (z, h), Must("(q', v') of shape (6, 2), within 2 h^2 of Euler's step", near)
        yield (z, h), Must("(q', v') whose derivative by (q, v) has determinant 1 and can be had by autograd", keeps_area)


@exercise("01.4", hints=("u = a + b t; its two integrals must take away the velocity v and the end q + T v; solve for a and b",))
def check_4():
    """The least effort that brings a cart to rest at the origin: the textbook's case, and any start by the Gramian."""
    rng = torch.Generator().manual_seed(4)
    for time in (0.5, 1.0, 3.0):
        t = time * torch.rand(9, generator=rng, dtype=torch.float64)
        yield (1.0, 0.0, time, t), -6 / time**2 * (1 - 2 * t / time)
        for q, v in torch.randn(4, 2, generator=rng, dtype=torch.float64).tolist():
            gramian = torch.tensor([[time**3 / 3, time**2 / 2], [time**2 / 2, time]], dtype=torch.float64)
            pull = torch.linalg.solve(gramian, torch.tensor([q + time * v, v], dtype=torch.float64))
            yield (q, v, time, t), -((time - t) * pull[0] + pull[1])
