"""Codebooks: what a latent says of its token, and its end point, against mixtures and conditioned Gaussians."""

import pytest
import torch
from torch.distributions import Normal

from minildm.control.bridges import Mixture
from minildm.transport.codebook import Codebook
from minildm.transport.mixtures import posterior, responsibilities
from minildm.transport.schedules import Linear

TOKENS = 5
D = 3


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def book(*variances: float) -> Codebook:
    return Codebook(noise(TOKENS, D), torch.tensor(variances, dtype=torch.float64))


@pytest.mark.parametrize("time", [0.0, 0.3, 0.9, 1.0])
def test_evidence_and_endpoint_are_those_of_a_mixture(time):
    """A text of one position is a mixture of Gaussians, one a token, with the tokens' frequencies for weights."""
    codes = book(0.2, 0.2, 0.2)
    prior = noise(TOKENS, seed=1).log_softmax(0)
    mixture = Mixture(prior, codes.means, torch.full((TOKENS,), 0.2, dtype=torch.float64))
    z = 2 * noise(40, D, seed=2)
    t = torch.full((40,), time, dtype=torch.float64)
    p = (prior + codes.evidence(z, t)).softmax(-1)
    assert torch.allclose(p, responsibilities(Linear(), mixture, z, t)[0])
    assert torch.allclose(codes.endpoint(p, z, t), posterior(Linear(), mixture, z, t)[0])


def test_evidence_is_a_log_likelihood_up_to_what_all_tokens_have():
    codes = book(0.01, 0.3, 2.0)
    z = noise(4, 7, D)
    t = torch.rand(4, 7, dtype=torch.float64)
    place = z[..., None, :]
    time = t[..., None, None]
    width = (time**2 * codes.variances + (1 - time) ** 2).sqrt()
    exact = Normal(time * codes.means, width).log_prob(place).sum(-1)
    gap = codes.evidence(z, t) - exact
    assert torch.allclose(gap, gap[..., :1].expand_as(gap))
    assert torch.allclose(codes.spread(t), width[..., 0, :] ** 2)


def test_the_endpoint_of_a_given_token_conditions_its_gaussian():
    """z_1 given z_t and the token: mean m + cov(z_1, z_t) / var(z_t) (z_t - t m), channel by channel."""
    codes = book(0.01, 0.3, 2.0)
    z = noise(6, D)
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    for token in range(TOKENS):
        p = torch.eye(TOKENS, dtype=torch.float64)[token].expand(6, -1)
        m = codes.means[token]
        time = t[:, None]
        gain = time * codes.variances / (time**2 * codes.variances + (1 - time) ** 2)
        assert torch.allclose(codes.endpoint(p, z, t), m + gain * (z - time * m))


def test_noise_says_nothing_and_data_stay():
    codes = book(0.1, 0.2, 0.3)
    z = noise(6, D)
    p = noise(6, TOKENS, seed=3).softmax(-1)
    start = torch.zeros(6, dtype=torch.float64)
    end = torch.ones(6, dtype=torch.float64)
    assert not codes.evidence(z, start).any()
    assert torch.allclose(codes.endpoint(p, z, start), p @ codes.means)
    assert torch.allclose(codes.endpoint(p, z, end), z)


def test_codes_that_are_points_end_at_the_mean_point():
    codes = book(0.0, 0.0, 0.0)
    z = noise(6, D)
    p = noise(6, TOKENS, seed=3).softmax(-1)
    assert torch.allclose(
        codes.endpoint(p, z, torch.full((6,), 0.7, dtype=torch.float64)), p @ codes.means
    )
