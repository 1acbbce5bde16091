"""The boxed equations of chapter 13, both sides evaluated."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev

from minildm import pretrained
from minildm.control.bridges import Mixture
from minildm.control.linear_quadratic import pinned_control, soft_terminal_control
from minildm.dynamics.solvers import integrate
from minildm.studies.ch09_singularity import energy
from minildm.transport.codebook import Codebook
from minildm.transport.diffusion import straight_step
from minildm.transport.energies import energies
from minildm.transport.mixtures import mixture_velocity
from minildm.transport.noise_levels import noise_levels
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Linear
from tests.sampling.draw import draw

from .draws import randn, rng, scalar

TIMES = (0.1, 0.4, 0.7, 0.95)


def book(words: int = 4, d: int = 2) -> Codebook:
    return Codebook(randn(words, d, seed=3), 0.1 + randn(d, seed=4) ** 2)


def gauss(d: int, nodes: int = 40) -> tuple[Tensor, Tensor]:
    """Points (nodes^d, d) and weights of the standard normal."""
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    points = np.array(list(itertools.product(x, repeat=d)))
    weights = np.array([np.prod(p) for p in itertools.product(w / w.sum(), repeat=d)])
    return torch.from_numpy(points), torch.from_numpy(weights)


@pytest.mark.parametrize("t", TIMES)
def test_the_policy_is_the_mean_of_the_controls(t):
    """(13.3): the mean of both controls over ends given the state, by quadrature on densities, against the control of the mean."""
    means, std, z = torch.tensor([-1.0, 0.5, 2.0]).double(), 0.4, 0.3
    y = torch.linspace(-8, 9, 40_001, dtype=torch.float64)
    prior = sum(
        w * torch.exp(-((y - m) ** 2) / (2 * std**2)) for w, m in zip((0.2, 0.5, 0.3), means)
    )
    posterior = prior * torch.exp(-((z - t * y) ** 2) / (2 * (1 - t) ** 2))
    posterior = posterior / posterior.sum()
    z_hat = (posterior @ y)[None, None]
    at = torch.full((len(y), 1), z, dtype=torch.float64)
    for control in (
        lambda y, z: pinned_control(y, z, t),
        lambda y, z: soft_terminal_control(y, z, t, 6.0),
    ):
        assert torch.allclose(
            posterior @ control(y[:, None], at)[:, 0], control(z_hat, at[:1])[0, 0]
        )
    log_weights = torch.tensor([0.2, 0.5, 0.3]).double().log()
    field = mixture_velocity(
        Linear(), Mixture(log_weights, means[:, None], torch.full((3,), std**2).double())
    )
    assert torch.allclose(field(at[:1], scalar(t)), pinned_control(z_hat, at[:1], t), atol=1e-6)


@pytest.mark.parametrize("std", [0.3, 1.0])
def test_energies_of_pairs_and_of_the_policy(std):
    """(13.4): at each time by quadrature over z_1 and z_0; over all times the chain (13.5)."""
    mixture, (x, w) = two_modes(std), gauss(1, 80)
    m, x, z0 = mixture.means[:, 0].double(), x[:, 0], x[:, 0]
    field, v = (
        mixture_velocity(
            Linear(),
            Mixture(*(a.double() for a in (mixture.log_weights, mixture.means, mixture.variances))),
        ),
        std**2,
    )
    for t in (0.1, 0.4, 0.6):
        z1 = (m[:, None] + std * x).flatten()
        joint = (mixture.log_weights.double().exp()[:, None] * w).flatten()[:, None] * w
        zt = (t * z1[:, None] + (1 - t) * z0).flatten()[:, None]
        u = field(zt, scalar(t)).view(len(z1), -1)
        q = t**2 * v + (1 - t) ** 2
        r = (mixture.log_weights.double() - (zt - t * m) ** 2 / (2 * q)).softmax(-1)
        z_hat = (r * (m + t * v / q * (zt - t * m))).sum(-1).view_as(u)
        left = (joint * (z1[:, None] - z0) ** 2).sum()
        right = (joint * (u**2 + (z1[:, None] - z_hat) ** 2 / (1 - t) ** 2)).sum()
        assert float(left) == pytest.approx(float(right), rel=1e-3)
    found = energies(mixture)
    assert found.conditional > found.marginal > found.optimal


@pytest.mark.parametrize("t", TIMES)
def test_evidence_of_a_word(t):
    """(13.7): differences between words against those of Gaussian log-densities; exactly zero at t = 0."""
    codes, z = book(), randn(5, 2)
    q = t**2 * codes.variances + (1 - t) ** 2
    density = torch.distributions.Normal(t * codes.means, q.sqrt()).log_prob(z[:, None]).sum(-1)
    evidence = codes.evidence(z, torch.full((5,), t).double())
    assert torch.allclose(evidence - evidence[:, :1], density - density[:, :1])
    assert (codes.evidence(z, torch.zeros(5).double()) == 0).all()


@pytest.mark.parametrize("t", TIMES)
def test_where_a_position_should_end(t):
    """(13.8): against E[z_1 | z_t] by conditioning on a fine grid of z_1, for a distribution over words."""
    codes, z, prior = book(3, 1), 0.4, torch.tensor([0.5, 0.2, 0.3]).double()
    y = torch.linspace(-40, 40, 200_001, dtype=torch.float64)
    density = sum(
        p * torch.exp(-((y - m) ** 2) / (2 * codes.variances))
        for p, m in zip(prior, codes.means[:, 0])
    )
    weight = density * torch.exp(-((z - t * y) ** 2) / (2 * (1 - t) ** 2))
    state, now = torch.tensor([[z]]).double(), torch.tensor([t]).double()
    p = (prior.log() + codes.evidence(state, now)).softmax(-1)
    assert torch.allclose(
        codes.endpoint(p, state, now)[0, 0], (weight @ y) / weight.sum(), rtol=1e-6
    )


def test_own_evidence_and_what_the_others_say():
    """(13.9): the posterior over all 64 texts of three words, each position at a time of its own."""
    codes, states, own = book(), randn(3, 2, seed=8), (0.3, 0.8, 0.05)
    joint = (2 * randn(4, 4, 4, seed=9)).flatten().softmax(0).view(4, 4, 4)
    says = [
        torch.distributions.Normal(t * codes.means, codes.spread(scalar(t)).sqrt())
        .log_prob(z)
        .sum(-1)
        .exp()
        for z, t in zip(states, own)
    ]
    whole = torch.einsum("abc,a,b,c->abc", joint, *says)
    for i in range(3):
        rest = [k for k in range(3) if k != i]
        left = whole.sum(rest) / whole.sum()
        blind = [torch.ones(4).double() if k == i else says[k] for k in range(3)]
        others = torch.einsum("abc,a,b,c->abc", joint, *blind).sum(rest)
        right = (codes.evidence(states[i], scalar(own[i])) + others.log()).softmax(-1)
        assert torch.allclose(left, right)


def test_cross_entropy_is_least_at_the_posterior():
    """(13.10): both sides over a finite world of states and words, for guesses good and bad."""
    joint = randn(6, 4).flatten().softmax(0).view(6, 4)  # states, words
    state, posterior = joint.sum(1), joint / joint.sum(1, keepdim=True)
    for guess in (posterior, randn(6, 4, seed=1).softmax(1), torch.full((6, 4), 0.25).double()):
        left = -(joint * guess.log()).sum()
        entropy = -(posterior * posterior.log()).sum(1)
        divergence = (posterior * (posterior / guess).log()).sum(1)
        assert torch.allclose(left, state @ (entropy + divergence))
        assert (divergence >= -1e-12).all()


def test_copying_points_at_posteriors():
    """(13.11): all texts of two sources and a copy, by enumeration."""
    codes, states, t = book(), randn(2, 2, seed=2), scalar(0.5)
    prior, pi = randn(4, seed=5).softmax(0), torch.tensor([0.7, 0.3]).double()
    says = codes.evidence(states, t.expand(2)).exp()
    left = torch.zeros(4).double()
    for a, b in itertools.product(range(4), repeat=2):
        weight = prior[a] * prior[b] * says[0, a] * says[1, b]
        left[a] += pi[0] * weight
        left[b] += pi[1] * weight
    posteriors = (prior.log() + codes.evidence(states, t.expand(2))).softmax(-1)
    assert torch.allclose(left / left.sum(), pi @ posteriors)


@pytest.mark.parametrize("offset", [0.0, 1.0, 4.0])
def test_what_an_offset_costs(offset):
    """(13.14): energy of a path in its own time, and in the common one; and the fraction of those under way."""
    grid = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    moving = torch.ones(1, 201, dtype=torch.bool)
    tau = noise_levels(grid, torch.full_like(grid, offset), moving.expand(len(grid), -1))

    def path(tau: Tensor) -> Tensor:
        return torch.sin(3 * tau) + tau**2

    common = (path(tau).diff(dim=0) ** 2 / grid.diff()[:, None]).sum(0)
    own = (path(grid).diff() ** 2 / grid.diff()).sum()
    assert torch.allclose(common, (1 + offset) * own.expand(201), rtol=2e-3)
    if offset:
        under_way = ((tau > 0) & (tau < 1))[len(grid) // 2].double().mean()
        assert float(under_way) == pytest.approx(1 / offset if offset > 1 else 1, abs=0.02)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_renewed_noise_keeps_the_distribution(eta):
    """(13.15): mean and variance of z_s given z_1 from the weights of old and new noise; at eta 1 the ancestral posterior."""
    end, t, s = scalar(1.5), scalar(0.4), scalar(0.7)

    def step(z0: float, xi: float) -> float:
        r = t * (1 - s) / (s * (1 - t))
        v = eta**2 * (1 - s) ** 2 * (1 - r**2)
        zt = t * end + (1 - t) * z0
        return float(s * end + ((1 - s) ** 2 - v).sqrt() * (zt - t * end) / (1 - t) + v.sqrt() * xi)

    mean, old, new = step(0, 0), step(1, 0) - step(0, 0), step(0, 1) - step(0, 0)
    assert mean == pytest.approx(float(s * end)) and old**2 + new**2 == pytest.approx(
        float((1 - s) ** 2)
    )
    drawn = randn(7)
    zt = t * end + (1 - t) * drawn
    package = straight_step(eta)(lambda z, t: (end - z) / (1 - t), zt, t, s, rng(1))
    xi = torch.randn(7, generator=rng(1), dtype=torch.float64)
    assert torch.allclose(
        package, torch.stack([scalar(step(float(a), float(b))) for a, b in zip(drawn, xi)])
    )
    if (
        eta == 1
    ):  # the posterior of z_s between z_t and z_1 of a process that adds noise: z_t = (t/s) z_s + rest
        rest = (1 - t) ** 2 - (t / s * (1 - s)) ** 2
        slope = (t / s) * (1 - s) ** 2 / ((t / s) ** 2 * (1 - s) ** 2 + rest)
        assert old == pytest.approx(float(slope * (1 - t)))


def guess(codes: Codebook, z: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """E[z_1 | z] and Cov[z_1 | z] by quadrature over the posterior's Gaussians, words equally likely."""
    now = scalar(t)
    q, p = codes.spread(now), codes.evidence(z, now).softmax(-1)
    ends = codes.means + t * codes.variances / q * (z - t * codes.means)
    x, w = gauss(2, 6)
    draws = ends[:, None] + (codes.variances * (1 - t) ** 2 / q).sqrt() * x
    weight = p[:, None] * w
    mean = torch.einsum("kn,knd->d", weight, draws)
    return mean, torch.einsum("kn,kni,knj->ij", weight, draws - mean, draws - mean)


@pytest.mark.parametrize("t", TIMES)
def test_a_disturbance_grows_where_the_end_is_open(t):
    """(13.17): the Jacobian of the policy by autograd, and by the covariance of the end."""
    codes = book()
    z = t * codes.means[:2].mean(0) + 0.1 * randn(2, seed=6)
    now = scalar(t)

    def policy(z: Tensor) -> Tensor:
        return pinned_control(codes.endpoint(codes.evidence(z, now).softmax(-1), z, now), z, t)

    C = guess(codes, z, t)[1]
    assert torch.allclose(jacrev(policy)(z), (t / (1 - t) ** 2 * C - torch.eye(2)) / (1 - t))


def test_a_disturbance_of_a_decided_word():
    """(13.18): two paths of the flow to one word, by RK4 against s/sqrt q, and by Euler against the product."""
    codes = Codebook(randn(1, 2), torch.tensor([0.5, 0.05]).double())
    p = torch.ones(2, 1, dtype=torch.float64)

    def policy(z: Tensor, t: Tensor) -> Tensor:
        return pinned_control(codes.endpoint(p, z, t.expand(2)), z, t, 1e-9)

    start = randn(1, 2, seed=1) + torch.stack([torch.zeros(2), torch.ones(2)]).double()
    for t in (0.1, 0.5, 0.8):
        times = torch.linspace(t, 1 - 1e-6, 400, dtype=torch.float64)
        ends = integrate(policy, start, times, "rk4").states[-1]
        assert torch.allclose(
            ends[1] - ends[0], (codes.variances / codes.spread(scalar(t))).sqrt(), rtol=1e-4
        )
        few = torch.linspace(t, 1, 6, dtype=torch.float64)
        ends = integrate(policy, start, few, "euler").states[-1]
        steps = [
            1 + (b - a) * (a * codes.variances - (1 - a)) / codes.spread(a)
            for a, b in itertools.pairwise(few)
        ]
        assert torch.allclose(ends[1] - ends[0], torch.stack(steps).prod(0))


@pytest.mark.parametrize("t", TIMES)
def test_guidance_moves_the_end(t):
    """(13.19): the mean of z_1 given the target, by summing over wanted words, and by the gradient."""
    codes, z, now = book(), randn(2, seed=7), scalar(t)
    wanted = torch.tensor([True, False, True, False])
    p = codes.evidence(z, now).masked_fill(~wanted, -torch.inf).softmax(-1)
    push = grad(lambda z: codes.evidence(z, now).log_softmax(-1)[wanted].logsumexp(-1))(z)
    plain = codes.endpoint(codes.evidence(z, now).softmax(-1), z, now)
    assert torch.allclose(codes.endpoint(p, z, now), plain + (1 - t) ** 2 / t * push)


def test_entropy_bounded_decoding_is_an_autoregressive_limit():
    """(09.16), (09.25) and (09.19) for solver entropy_bounded: ratio S, no word changes after its move, no derivative of sampled end points."""
    model, steps = pretrained.load("manta-tales").model.eval().requires_grad_(False), 24
    path = draw(model, 2, rng=rng(1), steps=steps, solver="entropy_bounded", record=True).trajectory
    least = (path.states[-1] - path.states[0]).flatten(1).square().sum(1) / 2
    assert torch.allclose(energy(path) / least, torch.tensor(float(steps)), rtol=1e-4)
    gone = (path.states != path.states[0]).any(-1)
    words = torch.stack([model.space.decode_tokens(z)[0] for z in path.states])
    assert gone[-1].all() and (words == words[-1])[gone].all()
    assert ((path.states.diff(dim=0) != 0).any(-1).sum(0) == 1).all()
    state, waiting = path.states[steps // 2].clone().requires_grad_(), ~gone[steps // 2]
    end = model.predict(state, (~waiting).float(), torch.zeros_like(state), seed=1)[0]
    assert waiting.any() and not torch.autograd.grad(end[waiting].sum(), state)[0].any()
