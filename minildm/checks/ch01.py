"""Checks of chapter 01: a plan, a gradient by hand, an area-preserving step, a cart at rest."""

import torch

from ..control.gradients import plan_cost, slope
from ..control.systems import DoubleIntegrator
from .draws import double, rand, randn
from .rules import Counted, without_autograd
from .verdict import Must, as_numbers, exercise, fault


@exercise(
    "01.1",
    hints=(
        "which part of a control moves the end, and which part only costs?",
        "only one constant vector is left to choose: (01.5) is a quadratic function of it",
        "the control is where the derivative of (01.5) vanishes; its cost is (01.5) at that place",
    ),
)
def check_1():
    """The optimum in any dimension; a start on the target; no time, where only the cost counts."""
    rng = torch.Generator().manual_seed(1)
    for batch, state in ((1, 1), (4, 2), (3, 5)):
        start, target = randn(rng, 2, batch, state)
        for _ in range(4):
            effort, weight, time = (0.1 + 3 * rand(rng, 3)).tolist()
            u = weight * (target - start) / (effort + weight * time)
            running = effort * time * u.square().sum(1) / 2
            terminal = weight * (start + time * u - target).square().sum(1) / 2
            yield (start, target, effort, weight, time), (u, running + terminal)
        yield (
            (start, start, 1.0, 2.0, 3.0),
            (torch.zeros_like(start), torch.zeros_like(start[:, 0])),
        )
        terminal = (target - start).square().sum(1)

        def has_cost(got: object, terminal=terminal) -> bool:
            if not isinstance(got, tuple | list) or len(got) != 2:
                return False
            return fault(got[1], terminal) is None

        yield (
            (start, target, 1.0, 2.0, 0.0),
            Must("any control, and the terminal cost of a point that stays where it is", has_cost),
        )


@exercise(
    "01.2",
    rule=lambda inputs: without_autograd(),
    hints=(
        "what does a small change of the last state cost, and what one step earlier?",
        "write the 2 x 2 derivative of one step, transpose it, and carry p back with it",
        "a change of the velocity also moves the next position: p_v gains a part of p_q, p_q stays",
    ),
)
def check_2():
    """The gradient of a cart's plan under Euler, by autograd through the package's rollout."""
    rng = torch.Generator().manual_seed(2)
    for steps, batch in ((1, 1), (2, 3), (7, 4), (20, 2)):
        plan = randn(rng, steps, batch)
        start = randn(rng, batch, 2)
        for effort, weight, time in ((1.0, 10.0, 2.0), (0.0, 1.0, 1.0), (2.0, 0.0, 3.0)):
            times = torch.linspace(0, time, steps + 1, dtype=torch.float64)
            cart = DoubleIntegrator(effort=effort, weight=weight)
            gradient = slope(plan_cost(cart, start, times, "euler"), plan[..., None])[1]
            yield (plan, start, time / steps, effort, weight), gradient[..., 0]


FORCES = {
    "-sin q": lambda q: -torch.sin(q),
    "-q": lambda q: -q,
    "-tanh 2q": lambda q: -torch.tanh(2 * q),
}


@exercise(
    "01.3",
    hints=(
        "Euler computes two new numbers from two old ones: must both use old ones only?",
        "a map that changes one coordinate by a function of the other one keeps areas",
        "make the step of two such maps, where the second is applied to the result of the first",
    ),
)
def check_3():
    """Areas by central differences, and a distance to Euler's step that shows order one."""
    rng = torch.Generator().manual_seed(3)
    gap = 0.02  # from the middle of a central difference to its ends
    for name in FORCES:
        for h in (0.3, 0.1, 0.01):
            middle = 3 * rand(rng, 6, 1, 2) - 1.5
            z = (
                middle
                + gap
                * torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
            ).flatten(0, 1)

            def near(got: object, z=z, h=h, name=name) -> bool:
                numbers = as_numbers(got)
                if numbers is None or numbers.shape != z.shape:
                    return False
                euler = z + h * torch.stack((z[:, 1], FORCES[name](z[:, 0])), dim=1)
                return bool(((numbers - euler).abs() <= 2 * h**2).all())

            def keeps_area(got: object, near=near) -> bool:
                numbers = as_numbers(got)
                if numbers is None or not near(got):
                    return False
                _, right, left, up, down = numbers.double().view(6, 5, 2).unbind(1)
                slopes = torch.stack((right - left, up - down), dim=2) / (2 * gap)
                return bool(((torch.linalg.det(slopes) - 1).abs() < 1e-4).all())

            asked, again = (Counted(FORCES[name], 1, f"force {name}") for _ in range(2))
            yield (
                (z, h, asked),
                Must("(q', v') of shape (30, 2), within 2 h^2 of Euler's step", near),
            )
            if h > 0.01:  # below, the area of Euler's step is right to 1e-4, too
                yield (
                    (z, h, again),
                    Must("(q', v') whose derivative by (q, v) has determinant 1", keeps_area),
                )


@exercise(
    "01.4",
    hints=(
        "which two things must have happened to the cart at time T?",
        "a straight line has two numbers; write velocity and position at T as integrals of it",
        "an impulse at time t moves the end by T - t times its size: solve two linear equations",
    ),
)
def check_4():
    """The least effort that brings a cart to rest: a textbook's case, and any by the Gramian."""
    rng = torch.Generator().manual_seed(4)
    for time in (0.5, 1.0, 3.0):
        t = time * rand(rng, 9)
        yield (1.0, 0.0, time, t), -6 / time**2 * (1 - 2 * t / time)
        for q, v in randn(rng, 4, 2).tolist():
            gramian = torch.tensor(
                [[time**3 / 3, time**2 / 2], [time**2 / 2, time]], dtype=torch.float64
            )
            p = torch.linalg.solve(gramian, double(q + time * v, v))
            yield (q, v, time, t), -((time - t) * p[0] + p[1])
