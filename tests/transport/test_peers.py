"""The same numbers from torchdiffeq, torchcfm and flow_matching, on the same draw; skipped where they are not installed."""

import pytest
import torch

from minildm.dynamics.adaptive import DormandPrince
from minildm.dynamics.solvers import integrate
from minildm.transport.couplings import optimal
from minildm.transport.fields import SmallField
from minildm.transport.paths import flow_matching_loss, sample_path
from minildm.transport.schedules import Cosine, Linear

HOW = "compares with {0}: make test installs it, or pip install --no-deps -c constraints.txt {0}"
METHODS = {"euler": "euler", "heun": "heun2", "midpoint": "midpoint"}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def swirl(z, t):
    """A field that turns, stretches and changes with time."""
    return torch.stack(
        (torch.sin(3 * z[:, 1]) - t * z[:, 0], torch.cos(2 * z[:, 0]) * (1 + t)), dim=1
    )


def draw(dtype=torch.float32):
    z1, z0 = torch.randn(2, 256, 2, generator=rng(), dtype=dtype)
    return z1, z0, torch.rand(256, generator=rng(1), dtype=dtype)


def loss(sample) -> torch.Tensor:
    torch.manual_seed(0)
    return flow_matching_loss(SmallField(), sample)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fixed_steps_equal_torchdiffeqs(method, dtype):
    peer = pytest.importorskip("torchdiffeq", reason=HOW.format("torchdiffeq"))
    start = torch.randn(64, 2, generator=rng(), dtype=dtype)
    times = torch.linspace(0, 1, 21, dtype=dtype)
    theirs = peer.odeint(lambda t, z: swirl(z, t), start, times, method=METHODS[method])
    assert (integrate(swirl, start, times, method).states - theirs).abs().max() <= 1e-6


def test_rk4_is_near_torchdiffeqs_which_is_another_method_of_order_4():
    """Theirs is the 3/8 rule: both have order 4, and with 200 steps both are exact to 1e-6."""
    peer = pytest.importorskip("torchdiffeq", reason=HOW.format("torchdiffeq"))
    start = torch.randn(64, 2, generator=rng(), dtype=torch.float64)
    times = torch.linspace(0, 1, 201, dtype=torch.float64)
    theirs = peer.odeint(lambda t, z: swirl(z, t), start, times, method="rk4")
    assert (integrate(swirl, start, times, "rk4").states - theirs).abs().max() <= 1e-6


def test_the_adaptive_pair_agrees_with_torchdiffeqs():
    peer = pytest.importorskip("torchdiffeq", reason=HOW.format("torchdiffeq"))
    start = torch.randn(64, 2, generator=rng(), dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0]).double()
    theirs = peer.odeint(
        lambda t, z: swirl(z, t), start, ends, method="dopri5", rtol=1e-8, atol=1e-8
    )
    ours = integrate(swirl, start, ends, DormandPrince(1e-8, 1e-8))
    assert (ours.states[-1] - theirs[-1]).abs().max() <= 1e-6


def test_path_and_loss_equal_torchcfms():
    peer = pytest.importorskip("torchcfm.conditional_flow_matching", reason=HOW.format("torchcfm"))
    z1, z0, t = draw()
    ours = sample_path(Linear(), z1, z0, t)
    _, zt, velocity = peer.ConditionalFlowMatcher(sigma=0.0).sample_location_and_conditional_flow(
        z0, z1, t=t
    )
    assert (ours.zt - zt).abs().max() <= 1e-6 and (ours.velocity - velocity).abs().max() <= 1e-6
    assert abs(loss(ours) - loss(type(ours)(zt, velocity, t, z0, z1))) <= 1e-6


def test_the_cosine_path_equals_torchcfms_variance_preserving_one():
    peer = pytest.importorskip("torchcfm.conditional_flow_matching", reason=HOW.format("torchcfm"))
    z1, z0, t = draw()
    ours = sample_path(Cosine(), z1, z0, t)
    matcher = peer.VariancePreservingConditionalFlowMatcher(sigma=0.0)
    _, zt, velocity = matcher.sample_location_and_conditional_flow(z0, z1, t=t)
    assert (ours.zt - zt).abs().max() <= 1e-6 and (ours.velocity - velocity).abs().max() <= 2e-6


def test_the_best_pairing_costs_what_torchcfms_costs():
    pytest.importorskip("ot", reason=HOW.format("pot"))
    peer = pytest.importorskip("torchcfm.optimal_transport", reason=HOW.format("torchcfm"))
    z1, z0, _ = draw(torch.float64)
    plan = torch.from_numpy(peer.OTPlanSampler(method="exact").get_map(z0, z1))
    theirs = (plan * torch.cdist(z0, z1) ** 2).sum()
    ours = (optimal(z0, z1)[0] - z1).square().sum(1).mean()
    assert abs(ours - theirs) <= 1e-6


def test_path_and_loss_equal_flow_matchings():
    path = pytest.importorskip("flow_matching.path", reason=HOW.format("flow_matching"))
    scheduler = pytest.importorskip(
        "flow_matching.path.scheduler", reason=HOW.format("flow_matching")
    )
    z1, z0, t = draw()
    ours = sample_path(Linear(), z1, z0, t)
    theirs = path.AffineProbPath(scheduler=scheduler.CondOTScheduler()).sample(t=t, x_0=z0, x_1=z1)
    assert (ours.zt - theirs.x_t).abs().max() <= 1e-6 and (
        ours.velocity - theirs.dx_t
    ).abs().max() <= 1e-6
    assert abs(loss(ours) - loss(type(ours)(theirs.x_t, theirs.dx_t, t, z0, z1))) <= 1e-6
