"""The boxed equations of chapter 10, both sides evaluated."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from minildm import pretrained
from minildm.checks import ch10
from minildm.dynamics.jacobians import top_eigenvalue
from minildm.models.vae import VAE, VAEConfig, divergence
from minildm.studies.ch10_latent_codes import codes
from minildm.studies.ch10_rectification import euler_error_constant, euler_std
from minildm.studies.ch10_word_field import (
    WordDistribution,
    pair_expansion_rates,
    responsibilities,
    word_distribution,
    word_jacobian,
    word_velocity,
)
from minildm.studies.record import results
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.transport.expansion_rate import midpoint_expansion_rate


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def some_mixture(k: int = 5, d: int = 3, seed: int = 0) -> WordDistribution:
    """Words of one width a channel, as the VAE makes them."""
    variances = (randn(d, seed=seed + 2) / 2).exp() / 4
    return WordDistribution(
        randn(k, seed=seed).log_softmax(0),
        2 * randn(k, d, seed=seed + 1),
        variances.expand(k, -1),
        torch.arange(k),
    )


def test_an_autoencoder_does_not_fix_its_space():
    """(10.2): the loss of a decoder on codes, and of the decoder after the inverse of a map on mapped codes."""
    means, W, words = randn(7, 2), randn(7, 2, seed=1), torch.arange(7)

    def decoder(z):
        return torch.tanh(z) @ W.T

    def loss(logits):
        return torch.nn.functional.cross_entropy(logits, words)

    mapped = torch.sinh(means) + torch.stack((0 * means[:, 0], torch.sinh(means[:, 0])), 1)

    def back(y):
        return torch.stack((y[:, 0].asinh(), (y[:, 1] - y[:, 0]).asinh()), 1)

    assert torch.allclose(loss(decoder(means)), loss(decoder(back(mapped))))
    assert not torch.allclose(loss(decoder(means)), loss(decoder(mapped)))


def test_the_evidence_and_its_bound():
    """(10.3): three discrete codes, any q; the log evidence is bound plus divergence from the posterior."""
    prior, likelihood = randn(6).softmax(0), randn(6, 4, seed=1).softmax(1)
    evidence = prior @ likelihood
    for w in range(4):
        q = randn(6, seed=2 + w).softmax(0)
        posterior = prior * likelihood[:, w] / evidence[w]
        bound = q @ likelihood[:, w].log() - q @ (q / prior).log()
        assert (
            torch.isclose(evidence[w].log(), bound + q @ (q / posterior).log())
            and bound < evidence[w].log()
        )


def test_the_divergence_of_a_channel():
    """(10.4): torch's own Gaussians, and an integral."""
    mean, std = randn(9), (randn(9, seed=1) / 2).exp()
    assert torch.allclose(divergence(mean, std), kl_divergence(Normal(mean, std), Normal(0.0, 1.0)))
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)[:, None]
    q, p = Normal(mean, std), Normal(0 * mean, 1.0)
    integral = torch.trapezoid(q.log_prob(z).exp() * (q.log_prob(z) - p.log_prob(z)), z, dim=0)
    assert torch.allclose(divergence(mean, std), integral, atol=1e-8)


def on_a_grid(mixture: WordDistribution) -> tuple[Tensor, Tensor, Tensor]:
    """A fine grid on the line, the densities of each word's code on it, and of all codes."""
    z = torch.linspace(-25, 25, 50_001, dtype=torch.float64)
    each = Normal(mixture.means, mixture.variances.sqrt()).log_prob(z).exp()
    return z, each, mixture.log_weights.exp() @ each


def test_rate_is_information_and_misfit():
    """(10.7): on the line, by integrals."""
    mixture = some_mixture(4, 1)
    z, each, all_codes = on_a_grid(mixture)
    prior, probs = Normal(0.0, 1.0).log_prob(z), mixture.log_weights.exp()
    kl = probs @ divergence(mixture.means, mixture.variances.sqrt())[:, 0]
    information = probs @ torch.trapezoid(
        torch.special.xlogy(each, each / all_codes.clamp(min=1e-300)), z
    )
    misfit = torch.trapezoid(torch.special.xlogy(all_codes, all_codes) - all_codes * prior, z)
    assert torch.isclose(kl, information + misfit) and information < kl


@pytest.mark.parametrize("std", [0.2, 0.6, 0.95])
def test_what_a_decoder_of_draws_cannot_do(std):
    """(10.8): the rate plus cross-entropy is at least the entropy for decoders of draws; of means, all may be read below it."""
    means = torch.tensor([[-1.5], [-0.5], [0.5], [1.5]], dtype=torch.float64) * math.sqrt(
        (1 - std**2) / 1.25
    )
    mixture = WordDistribution(
        torch.full((4,), 0.25).log().double(),
        means,
        torch.full((4, 1), std**2).double(),
        torch.arange(4),
    )
    z, each, _ = on_a_grid(mixture)
    kl, entropy = divergence(means, torch.tensor(std)).mean(), math.log(4)
    for sharpness in (0.5, 1.0, 3.0):
        decoder = (
            (sharpness * responsibilities(mixture, z[:, None]).clamp(min=1e-30).log()).softmax(1).T
        )
        nats = -torch.trapezoid(each * decoder.clamp(min=1e-30).log(), z).mean()
        assert kl + nats >= entropy
    assert (
        responsibilities(mixture, means).argmax(1) == torch.arange(4)
    ).all()  # from means all are read
    assert (kl < entropy) == (std > 0.5)  # and that at any rate


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0, 1.7])
def test_no_loss_is_below_what_a_code_can_tell(beta):
    """(10.9): an equality for the best reader, above for others; from beta = 1 on it is at least the entropy."""
    mixture = some_mixture(4, 1)
    z, each, all_codes = on_a_grid(mixture)
    prior, probs = Normal(0.0, 1.0).log_prob(z), mixture.log_weights.exp()
    kl = probs @ divergence(mixture.means, mixture.variances.sqrt())[:, 0]
    entropy = -probs @ mixture.log_weights
    information = probs @ torch.trapezoid(
        torch.special.xlogy(each, each / all_codes.clamp(min=1e-300)), z
    )
    misfit = torch.trapezoid(torch.special.xlogy(all_codes, all_codes) - all_codes * prior, z)
    bound = entropy - (1 - beta) * information + beta * misfit
    for blur in (0.0, 0.2):
        reader = ((1 - blur) * responsibilities(mixture, z[:, None]) + blur / 4).T
        nats = -probs @ torch.trapezoid(torch.special.xlogy(each, reader.clamp(min=1e-300)), z)
        assert torch.isclose(nats + beta * kl, bound) if blur == 0 else nats + beta * kl > bound
    assert bound >= entropy - 1e-9 or beta < 1


@pytest.mark.parametrize("beta", [0.05, 0.4, 0.9, 1.6])
def test_a_channel_dies_at_a_threshold(beta):
    """(10.11): the loss (10.10) of the formula, and the least one on a fine grid of widths and gains."""
    power, noise = 1.3, 0.7
    width, squared = min(1.0, (beta * noise / power) ** 0.5), max(0.0, power - beta * noise)
    stds, gains = (
        torch.linspace(0.01, 1.5, 400, dtype=torch.float64),
        torch.linspace(0, 2, 401, dtype=torch.float64),
    )
    table = ch10.linear_loss(power, noise, beta, stds[:, None], gains)
    here = ch10.linear_loss(
        power, noise, beta, torch.tensor(width).double(), torch.tensor(squared**0.5).double()
    )
    assert here <= table.min() + 1e-9 and here > table.min() - 1e-3
    assert (squared == 0) == (beta * noise >= power) and (width == 1) == (squared == 0)


@pytest.mark.parametrize("t", [0.1, 0.4, 0.7])
def test_the_field_of_words(t):
    """(10.15): both forms, and the mean of pinned controls by draws weighted with the distribution of z_t."""
    mixture, time = some_mixture(), torch.tensor(t, dtype=torch.float64)
    z, v = t * mixture.sample(4, rng(7))[1] + (1 - t) * randn(4, 3, seed=7), mixture.variances[0]
    q = (1 - t) ** 2 + t**2 * v
    r = (mixture.log_weights - ((z[:, None] - t * mixture.means) ** 2 / (2 * q)).sum(-1)).softmax(1)
    rate = (t * v - (1 - t)) / q
    first = (r[..., None] * (mixture.means + rate * (z[:, None] - t * mixture.means))).sum(1)
    assert torch.allclose(first, rate * z + (1 - t) / q * (r @ mixture.means))
    assert torch.allclose(first, word_velocity(mixture)(z, time))
    # the pair behind z: given z1, noise is (z - t z1) / (1 - t), so E[z1 - z0 | z] is a ratio of two means over z1
    _, z1 = mixture.sample(400_000, rng(3))
    z0 = (z[:1] - t * z1) / (1 - t)
    weight = (-z0.square().sum(1) / 2).softmax(0)
    assert (1 / weight.square().sum()) > 1000
    assert torch.allclose(
        weight @ (z1 - z0), word_velocity(mixture)(z[:1], time)[0], atol=0.08 / (1 - t)
    )


@pytest.mark.parametrize("t", [0.2, 0.6, 0.95])
def test_the_expansion_rate_of_words(t):
    """(10.16): formula, autograd, and the top eigenvalue by products; the border of two words of one width is chapter 08's."""
    mixture, time = some_mixture(6, 4), torch.tensor(t, dtype=torch.float64)
    z, v = randn(5, 4, seed=9), mixture.variances[0]
    q, r = (1 - t) ** 2 + t**2 * v, responsibilities(mixture, z, t)
    centered = mixture.means - (r @ mixture.means)[:, None]
    spread = torch.einsum("bk,bki,bkj->bij", r, centered, centered)
    formula = torch.diag((t * v - (1 - t)) / q) + t * (1 - t) * spread / q[:, None] / q
    field = word_velocity(mixture)
    autograd = torch.func.vmap(torch.func.jacrev(lambda one: field(one[None], time)[0]))(z)
    assert torch.allclose(formula, autograd) and torch.allclose(
        formula, word_jacobian(mixture, z, time)
    )
    top = torch.linalg.eigvalsh(formula)[:, -1]
    assert (
        (top_eigenvalue(field, z, time, rng(), rounds=4) - top).abs()
        <= 1e-6 * top.abs().clamp(min=1)
    ).all()
    alike = WordDistribution(
        mixture.log_weights, mixture.means, torch.full_like(mixture.variances, 0.04), mixture.tokens
    )
    distance = float((mixture.means[0] - mixture.means[1]).norm())
    assert torch.allclose(
        pair_expansion_rates(alike, 0, 1, time[None]),
        midpoint_expansion_rate(distance, 0.2, time[None]),
    )


@pytest.mark.parametrize("std", [0.05, 0.2, 0.5, 0.8, 1.0])
def test_the_error_of_a_decided_word(std):
    """(10.18): S log(s / c_S) for the product of Euler's factors against 1/2 + pi (1 + s^2) / (8 s), and the integral in it."""
    s = torch.tensor(std, dtype=torch.float64)
    gaps = [
        float(steps * (s / euler_std(s, steps)).log() - euler_error_constant(s))
        for steps in (500, 1000)
    ]
    assert abs(gaps[1]) < 1e-3 * float(euler_error_constant(s)) and abs(gaps[1]) < 0.6 * abs(
        gaps[0]
    )
    t = torch.linspace(0, 1, 400_001, dtype=torch.float64)
    rate = (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2)
    assert torch.isclose(torch.trapezoid(rate**2, t), math.pi * (1 + s**2) / (4 * s) - 1, rtol=1e-6)


def test_words_flip_on_the_line_between_them():
    """(10.20): log odds of the reader on the line between two means, linear with slope D^2."""
    mixture, x = some_mixture(5, 3), torch.linspace(0, 1, 21, dtype=torch.float64)
    for i, j in ((0, 1), (2, 4)):
        r = responsibilities(mixture, torch.lerp(mixture.means[i], mixture.means[j], x[:, None]))
        squared = ((mixture.means[j] - mixture.means[i]) ** 2 / mixture.variances[0]).sum()
        odds = mixture.log_weights[j] - mixture.log_weights[i] + (x - 0.5) * squared
        assert torch.allclose((r[:, j] / r[:, i]).log(), odds, atol=1e-8)


def test_a_trained_space_obeys_its_budget():
    """(10.7), (10.8): the information of a VAE's codes is below their rate, and below the entropy, whatever the weights."""
    torch.manual_seed(0)
    model = VAE(VAEConfig(vocab_size=12, seq_len=6, latent=4, d_model=16, n_heads=2)).eval()
    counts = torch.tensor([0, 3, 1, 5, 2, 8, 1, 1, 4, 0, 2, 6])
    found = codes(model, word_distribution(model, counts), rng(), draws=400)
    assert 0 < found.information < found.nats and found.information <= found.entropy + 1e-9


@torch.no_grad()
def test_the_zoo_space_is_read_from_draws():
    """The bar of the VAE: more than 99.5% of the words of held-out tales, from draws of their posteriors, at its KL weight."""
    loaded = pretrained.load("vae-tales")
    rows = tensor(load_corpus("tales", loaded.model.config.seq_len).valid[:64])
    read = loaded.model.decode_tokens(loaded.model.encode(rows, rng()))[0]
    assert (read == rows).double().mean() > 0.995 and loaded.card["scores"]["held_out"][
        "token_accuracy"
    ] > 0.995


def test_the_study_is_complete():
    """Six weights of the divergence with three seeds each, all of one training."""
    study = results("ch10_rectification")
    found = {(run["weight"], run["seed"]) for run in study["rows"]}
    assert len(study["rows"]) == 18 and found == {
        (10.0**-k, seed) for k in range(6) for seed in range(3)
    }
