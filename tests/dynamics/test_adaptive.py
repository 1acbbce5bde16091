"""The embedded pair: its orders, the tolerance it keeps, the times it chooses, and where it gives up."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.control.feedback import rollout, transport
from minildm.dynamics.adaptive import FOURTH, A, C, DormandPrince, dormand_prince
from minildm.dynamics.solvers import integrate
from minildm.errors import UserError

START = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
ENDS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def field(z, t):
    """dz/dt = -z^2 (1 + sin 3t), solved by 1/z = 1/z_0 + t + (1 - cos 3t)/3."""
    return -(z**2) * (1 + torch.sin(3 * t))


def exact(t):
    return 1 / (1 / START + t + (1 - torch.cos(3 * t)) / 3)


def even_steps(steps: int) -> tuple[float, float]:
    """For dz/dt = 4z(1 - z), a logistic curve: error after even steps to t = 1, and the embedded error of the first of them."""

    def growth(z, t):
        return 4 * z * (1 - z)

    offsets = torch.tensor([[-2.0], [0.0], [1.0]], dtype=torch.float64)
    z, times = torch.sigmoid(offsets), torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    _, embedded, _ = dormand_prince(growth, z, times[0], times[1], growth(z, times[0]))
    for t, s in pairwise(times):
        z, _, _ = dormand_prince(growth, z, t, s, growth(z, t))
    return (z - torch.sigmoid(offsets + 4)).abs().max().item(), embedded.abs().max().item()


def test_order_of_the_step_and_of_its_error():
    """The state converges with order 5; the local error of the fourth-order companion falls as h^5."""
    found = [even_steps(steps) for steps in (20, 40, 80)]
    for coarse, fine in pairwise(found):
        assert math.log2(coarse[0] / fine[0]) == pytest.approx(5, abs=0.15)
        assert math.log2(coarse[1] / fine[1]) == pytest.approx(5, abs=0.15)


def test_the_coefficients_satisfy_the_conditions_of_order():
    """Rows of A sum to c; sum_i b_i c_i^(k-1) = 1/k up to the order of each set of weights."""
    assert [sum(row) for row in A] == pytest.approx(list(C), abs=1e-14)
    for weights, order in (((*A[6], 0), 5), (FOURTH, 4)):
        for k in range(1, order + 1):
            assert sum(b * c ** (k - 1) for b, c in zip(weights, C)) == pytest.approx(
                1 / k, abs=1e-14
            )
    assert sum(b * c**4 for b, c in zip(FOURTH, C)) != pytest.approx(1 / 5, abs=1e-6)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5, 1e-7, 1e-9, 1e-11])
@pytest.mark.parametrize("times", [ENDS, ENDS.flip(0)], ids=["forward", "backward"])
def test_every_step_keeps_the_tolerance(tolerance, times):
    """Against the exact flow from where the step began, in the norm of the controller; at the end errors have added up.

    The controller holds an estimate of size h^5 at the tolerance, so h ~ tolerance^(1/5). A step errs by order h^6, so by
    c tolerance^(1/5) times the tolerance: below it when that is small, and at loose ones a few times above. On this field
    the worst step has c up to 20.
    """
    method = DormandPrince(tolerance, tolerance)
    path = integrate(field, exact(times[0]), times, method)
    for (t, s), (z, end) in zip(pairwise(path.times), pairwise(path.states)):
        flow = 1 / (1 / z + s - t + (torch.cos(3 * t) - torch.cos(3 * s)) / 3)
        assert method.size(end - flow, z, end) <= 20 * tolerance**0.2
    assert (path.states[-1] - exact(times[1])).abs().max() <= 20 * tolerance


def test_a_tighter_tolerance_takes_more_steps_by_the_order():
    counts = [
        len(integrate(field, START, ENDS, DormandPrince(10.0**-k, 10.0**-k)).times) - 1
        for k in (5, 10)
    ]
    assert 3 < counts[1] / counts[0] < 15  # 10^(5/5) = 10 where neither end binds


def test_the_record_has_the_accepted_times_and_the_asked_ones():
    asked = torch.tensor([0.0, 0.3, 0.35, 1.0], dtype=torch.float64)
    path = integrate(field, START, asked, DormandPrince(1e-8, 1e-8))
    assert path.states.shape == (len(path.times), 3, 1) and len(path.times) > 8
    assert (path.times.diff() > 0).all() and all((path.times == t).any() for t in asked)
    assert (path.states - torch.stack([exact(t) for t in path.times])).abs().max() <= 2e-7
    ends = integrate(field, START, asked, DormandPrince(1e-8, 1e-8), record=False)
    assert (
        torch.equal(ends.times, asked[[0, -1]])
        and (ends.states[-1] - path.states[-1]).abs().max() <= 2e-7
    )


@pytest.mark.parametrize("tolerance, allowed", [(1e-9, 0.03), (1e-12, 0.01)])
def test_steps_are_short_where_the_field_is_steep(tolerance, allowed):
    """The fraction of steps near a peak u = 1/(1 + x^2), x = (t - 1/2)/0.02, tends to a number, 0.61, and the area is found.

    The companion of order 4 errs by h^5 times the fourth derivative of u, up to a constant: steps come with density
    1/h ~ |24 (5 x^4 - 10 x^2 + 1)/(1 + x^2)^5|^(1/5). A uniform grid has 0.2 of its steps there.
    """
    x = torch.linspace(-25, 25, 100_001, dtype=torch.float64)
    density = ((5 * x**4 - 10 * x**2 + 1).abs() / (1 + x**2) ** 5) ** 0.2
    fraction = density[x.abs() < 5].sum() / density.sum()

    def peak(z, t):
        return (1 / (1 + ((t - 0.5) / 0.02) ** 2)).expand_as(z)

    path = integrate(
        peak, torch.zeros(1, 1, dtype=torch.float64), ENDS, DormandPrince(0.0, tolerance)
    )
    middles = (path.times[1:] + path.times[:-1]) / 2
    assert ((middles - 0.5).abs() < 0.1).double().mean().item() == pytest.approx(
        fraction.item(), abs=allowed
    )
    assert path.states[-1].item() == pytest.approx(0.04 * math.atan(25), abs=10 * tolerance)


def test_it_serves_as_a_step_of_a_rollout():
    times = torch.linspace(0, 1, 5, dtype=torch.float64)
    plain = rollout(transport, lambda z, t: -z, START, times, "rk4")
    adaptive = rollout(transport, lambda z, t: -z, START, times, DormandPrince())
    assert torch.allclose(plain.path.states, adaptive.path.states)


def test_a_still_state_and_float32_are_fine():
    path = integrate(lambda z, t: torch.zeros_like(z), START, ENDS, DormandPrince())
    assert torch.equal(path.states[-1], START) and len(path.times) == 2
    single = integrate(field, START.float(), ENDS.float(), DormandPrince(1e-5, 1e-5))
    assert (
        single.states.dtype == torch.float32
        and (single.states[-1] - exact(ENDS[1])).abs().max() < 1e-4
    )


def test_a_field_that_blows_up_is_refused():
    """dz/dt = z^2 from 2 is infinite at t = 1/2; a field of nan never moves."""
    with pytest.raises(
        UserError, match=r"not finite, or too stiff, at t = 0\.5: end before or tolerate more"
    ):
        integrate(
            lambda z, t: z**2, torch.full((1, 1), 2.0, dtype=torch.float64), ENDS, DormandPrince()
        )
    with pytest.raises(UserError, match="at t = 0: "):
        integrate(lambda z, t: z * torch.nan, START, ENDS, DormandPrince())


@pytest.mark.parametrize("start", [1e3, 1e6])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_arrives_or_gives_up_however_far_from_zero_the_times_are(start, tolerance, dtype):
    evaluations = 0

    def decay(z, t):
        nonlocal evaluations
        evaluations += 1
        assert evaluations < 20_000
        return -100 * z

    times = torch.tensor([start, start + 1], dtype=dtype)
    try:
        path = integrate(
            decay, torch.ones(1, 1, dtype=dtype), times, DormandPrince(tolerance, tolerance)
        )
        assert path.times[-1] == times[-1] and (path.times.diff() > 0).all()
    except UserError as refused:
        assert dtype == torch.float32 and (
            "too stiff" in str(refused) or "does not move the time" in str(refused)
        )


def test_a_step_that_does_not_move_the_time_is_refused():
    times = torch.tensor([1e7, 1e7 + 1], dtype=torch.float32)
    with pytest.raises(UserError, match="does not move the time"):
        integrate(lambda z, t: -100 * z, torch.ones(1, 1), times, DormandPrince(1e-3, 1e-3))
