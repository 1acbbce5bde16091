"""Checks of chapter 01: the best plan of a point, credit carried backwards, a step that keeps area,
a cart brought to rest.
"""

import torch

from ..control.gradients import plan_cost, slope
from ..control.systems import DoubleIntegrator
from .rules import Counted, without_autograd
from .verdict import Must, as_numbers, exercise, fault


@exercise(
    "01.1",
    hints=(
        "which part of a control moves the end, and which part only costs?",
        "only one constant vector is left to choose: (01.5) is a quadratic function of it",
        "where the derivative of (01.5) vanishes stands the control; its cost is (01.5) at that place",
    ),
)
def check_1():
    """Control and cost of the optimum, in any dimension; a start on the target costs nothing;
    without time only a cost.
    """
    rng = torch.Generator().manual_seed(1)
    for batch, state in ((1, 1), (4, 2), (3, 5)):
        start, target = torch.randn(2, batch, state, generator=rng, dtype=torch.float64)
        for _ in range(4):
            effort, weight, time = (
                0.1 + 3 * torch.rand(3, generator=rng, dtype=torch.float64)
            ).tolist()
            u = weight * (target - start) / (effort + weight * time)
            spent = effort * time * u.square().sum(1) / 2
            missed = weight * (start + time * u - target).square().sum(1) / 2
            yield (start, target, effort, weight, time), (u, spent + missed)
        yield (
            (start, start, 1.0, 2.0, 3.0),
            (torch.zeros_like(start), torch.zeros_like(start[:, 0])),
        )
        missed = (target - start).square().sum(1)

        def costs(got: object, missed=missed) -> bool:
            return isinstance(got, tuple | list) and len(got) == 2 and fault(got[1], missed) is None

        yield (
            (start, target, 1.0, 2.0, 0.0),
            Must("any control, and the cost of missing by the whole way", costs),
        )


@exercise(
    "01.2",
    rule=lambda inputs: without_autograd(),
    hints=(
        "what does a nudge of the last state cost, and what does it cost one step earlier?",
        "write the 2 x 2 derivative of one step, transpose it, and carry p back with it",
        "a nudge of the velocity also moves the next position, so p_v gains something from p_q, and p_q stays as it is",
    ),
)
def check_2():
    """The gradient of a cart's plan under Euler, against autograd through the package's rollout."""
    rng = torch.Generator().manual_seed(2)
    for steps, batch in ((1, 1), (2, 3), (7, 4), (20, 2)):
        plan = torch.randn(steps, batch, generator=rng, dtype=torch.float64)
        start = torch.randn(batch, 2, generator=rng, dtype=torch.float64)
        for effort, weight, time in ((1.0, 10.0, 2.0), (0.0, 1.0, 1.0), (2.0, 0.0, 3.0)):
            times = torch.linspace(0, time, steps + 1, dtype=torch.float64)
            price = plan_cost(DoubleIntegrator(effort=effort, weight=weight), start, times, "euler")
            yield (
                (plan, start, time / steps, effort, weight),
                slope(price, plan[..., None])[1][..., 0],
            )


FORCES = {
    "-sin q": lambda q: -torch.sin(q),
    "-q": lambda q: -q,
    "-tanh 2q": lambda q: -torch.tanh(2 * q),
}


@exercise(
    "01.3",
    hints=(
        "Euler computes two new numbers from two old ones: must both of them be made from old ones only?",
        "a map that changes one coordinate, by an amount that depends on the other only, keeps areas",
        "make the step of two such maps, one after the other; the second one sees what the first one made",
    ),
)
def check_3():
    """Areas by central differences, which any kind of number can pass; nearness to Euler's step, at
    which order one begins.
    """
    rng = torch.Generator().manual_seed(3)
    gap = 0.02  # from the middle of a central difference to its ends
    for name in FORCES:
        for h in (0.3, 0.1, 0.01):
            middle = 3 * torch.rand(6, 1, 2, generator=rng, dtype=torch.float64) - 1.5
            z = (
                middle
                + gap
                * torch.tensor([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
            ).flatten(0, 1)

            def near(got: object, z=z, h=h, name=name) -> bool:
                ahead, got = (
                    z + h * torch.stack((z[:, 1], FORCES[name](z[:, 0])), dim=1),
                    as_numbers(got),
                )
                return (
                    got is not None
                    and got.shape == z.shape
                    and bool(((got - ahead).abs() <= 2 * h**2).all())
                )

            def keeps_area(got: object, near=near) -> bool:
                if not near(got):
                    return False
                _, right, left, up, down = as_numbers(got).double().view(6, 5, 2).unbind(1)
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
        "a straight line has two numbers; say with two integrals what it does to velocity and position",
        "a push at time t moves the end by T - t times its size: solve the two linear equations for the two numbers",
    ),
)
def check_4():
    """The least effort that brings a cart to rest at the origin: the textbook's case, and any start
    by the Gramian.
    """
    rng = torch.Generator().manual_seed(4)
    for time in (0.5, 1.0, 3.0):
        t = time * torch.rand(9, generator=rng, dtype=torch.float64)
        yield (1.0, 0.0, time, t), -6 / time**2 * (1 - 2 * t / time)
        for q, v in torch.randn(4, 2, generator=rng, dtype=torch.float64).tolist():
            gramian = torch.tensor(
                [[time**3 / 3, time**2 / 2], [time**2 / 2, time]], dtype=torch.float64
            )
            pull = torch.linalg.solve(gramian, torch.tensor([q + time * v, v], dtype=torch.float64))
            yield (q, v, time, t), -((time - t) * pull[0] + pull[1])
