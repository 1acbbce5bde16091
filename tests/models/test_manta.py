"""Manta-LM: its aim against closed forms, its controls, and what its policy keeps."""

import pytest
import torch
import torch.nn.functional as F

from minildm.control.bridges import Mixture
from minildm.control.feedback import rollout, transport
from minildm.control.linear_quadratic import pinned_control, soft_terminal_control
from minildm.errors import UserError
from minildm.models.guidance import contains, posterior_mean_guidance
from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.vae import VAEConfig
from minildm.sampling.policy import MantaPolicy
from minildm.transport.diffusion import straight_step
from minildm.transport.mixtures import posterior
from minildm.transport.schedules import Linear

from .small import rng
from .tiny_manta import LATENT, WORDS, N, manta


def states(batch: int = 3, n: int = N, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """States and times of all positions, one of them arrived and one not yet on its way."""
    z, t = (
        torch.randn(batch, n, LATENT, generator=rng(seed)),
        torch.rand(batch, n, generator=rng(seed + 1)),
    )
    t[0, 0], t[-1, -1] = 1.0, 0.0
    return z, t


@torch.no_grad()
def test_where_the_text_says_nothing_it_aims_at_the_posterior_mean_of_a_mixture():
    """A text of one position, and a network that adds nothing: words as Gaussians with the prior's weights."""
    model = manta()
    model.policy.scores = lambda x, posterior_, *_: torch.zeros(*posterior_.shape)
    book, z, t = (
        model.space.codebook(),
        torch.randn(50, 1, LATENT, generator=rng()),
        torch.linspace(0, 0.98, 50)[:, None],
    )
    assert torch.allclose(book.variances, book.variances[0])
    mixture = Mixture(model.prior.log_softmax(0), book.means, book.variances[0].expand(WORDS))
    denoised = model.predict(z, t, torch.zeros_like(z))[0]
    assert torch.allclose(
        denoised[:, 0], posterior(Linear(), mixture, z[:, 0], t[:, 0])[0], atol=1e-4
    )


@torch.no_grad()
def test_the_aim_is_the_mean_of_the_end_points_of_its_words():
    model, (z, t) = manta(), states()
    denoised, logits = model.predict(z, t, torch.zeros_like(z))
    book, p = model.space.codebook(), logits.softmax(-1)
    each = torch.stack(
        [book.endpoint(F.one_hot(torch.full((3, N), w), WORDS).float(), z, t) for w in range(WORDS)]
    )
    assert torch.allclose(denoised, (p.permute(2, 0, 1)[..., None] * each).sum(0), atol=1e-5)
    sharp, same = model.predict(z, t, torch.zeros_like(z), temperature=0.0)
    best = book.endpoint(F.one_hot(logits.argmax(-1), WORDS).float(), z, t)
    assert torch.equal(same, logits) and torch.allclose(sharp, best, atol=1e-4)
    warm = model.predict(z, t, torch.zeros_like(z), temperature=0.5)[0]
    assert torch.allclose(warm, book.endpoint((2 * logits).softmax(-1), z, t), atol=1e-5)


@torch.no_grad()
def test_a_sampled_end_point_is_that_of_one_word():
    model, (z, t) = manta(), states()
    logits, book = model.predict(z, t, torch.zeros_like(z))[1], model.space.codebook()
    many = [model.predict(z, t, torch.zeros_like(z), 0.7, seed)[0] for seed in range(400)]
    ends = torch.stack(
        [book.endpoint(F.one_hot(torch.full((3, N), w), WORDS).float(), z, t) for w in range(WORDS)]
    )
    gaps = torch.stack([(ends - denoised).square().mean(-1) for denoised in many])
    under_way = t < 1
    assert gaps.amin(1)[:, under_way].max() < 1e-10
    counts = F.one_hot(gaps.argmin(1), WORDS).double().mean(0)
    p = (logits / 0.7).softmax(-1).double()
    assert ((counts - p).abs() < 5 * (p * (1 - p) / 400).sqrt() + 0.01)[under_way].all()


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_sampled_end_points_carry_noise_to_the_distribution_of_words_in_any_number_of_steps(steps):
    """One position and a network that adds nothing: the distribution of its word is the prior; aims that are means miss it."""
    model, count = manta(), 4000
    model.policy.scores = lambda x, posterior_, *_: torch.zeros(*posterior_.shape)
    model.prior.copy_(torch.randn(WORDS, generator=rng(8)))
    times = torch.linspace(0, 1, steps + 1)[:, None, None, None].expand(-1, count, 1, 1)
    found = {}
    for name, seed in (("drawn", 5), ("mean", None)):
        loop = MantaPolicy(model, temperature=1.0, seed=seed)
        z = torch.randn(count, 1, LATENT, generator=rng(3))
        end = rollout(transport, loop, z, times, straight_step(1.0), rng(4)).path.states[-1]
        words = model.space.codebook().evidence(end, torch.full((count, 1), 0.999)).argmax(-1)
        frequency = F.one_hot(words.flatten(), WORDS).double().mean(0)
        found[name] = 0.5 * (frequency - model.prior.softmax(-1)).abs().sum().item()
    assert found["drawn"] < 0.04 < 3 * found["drawn"] < found["mean"]


@torch.no_grad()
@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_who_has_arrived_stays(head):
    model, (z, t) = manta(head=head), states()
    t[:, 2] = 1.0
    denoised, logits = model.predict(z, t, torch.zeros_like(z))
    assert (
        denoised[:, 2].equal(z[:, 2])
        and denoised[0, 0].equal(z[0, 0])
        and not torch.allclose(denoised[:, 3], z[:, 3])
    )
    assert (logits is None) == (head == "denoised")
    assert torch.equal(MantaPolicy(model)(z, t[..., None])[:, 2], torch.zeros(3, LATENT))


@torch.no_grad()
def test_the_controls_are_those_of_chapter_03():
    (z, t), y = states(), torch.randn(3, N, LATENT, generator=rng(5))
    t[0, 1] = 0.999
    time = t[..., None]
    assert torch.allclose(manta().control(y, z, time), pinned_control(y, z, time, 0.02))
    assert torch.allclose(
        manta(terminal="soft", terminal_weight=7.0).control(y, z, time),
        soft_terminal_control(y, z, time, 7.0),
    )
    assert torch.allclose(manta().control(y, z, time)[0, 1], (y - z)[0, 1] / 0.02)


def test_the_policy_keeps_its_last_aim_until_time_goes_back():
    model, seen = manta(self_condition=True), []
    predict = model.predict
    model.predict = lambda z, t, c, *how: seen.append(c) or predict(z, t, c, *how)
    loop, z = MantaPolicy(model), states()[0]
    with torch.no_grad():
        for time in (0.2, 0.5, 0.3):
            loop(z, torch.full((3, N, 1), time))
    assert not seen[0].any() and torch.equal(seen[1], loop.seen[0]) and not seen[2].any()
    silent = manta()
    silent.predict = model.predict
    loop = MantaPolicy(silent)
    with torch.no_grad():
        for time in (0.2, 0.5):
            loop(z, torch.full((3, N, 1), time))
    assert not seen[-1].any()


@torch.no_grad()
@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_a_target_guides_the_aim_of_those_on_their_way(head):
    model, (z, t) = manta(head=head), states()
    t[:, 2] = 1.0
    c, time = torch.zeros_like(z), t[..., None]

    def predict(z):
        denoised, logits = model.predict(z, t, c)
        return denoised, model.space.decode(denoised) if logits is None else logits

    guided = posterior_mean_guidance(predict, contains(5), 2.0, Linear(), z, t)[0].where(
        time < 1, z
    )
    loop = MantaPolicy(model, target=contains(5), scale=2.0)
    assert torch.allclose(loop(z, time), model.control(guided, z, time), atol=1e-5) and torch.equal(
        loop.seen[0], guided
    )
    assert torch.equal(guided[:, 2], z[:, 2]) and not torch.allclose(
        guided, predict(z)[0].where(time < 1, z), atol=1e-4
    )


def test_spaces_and_couplings_that_a_policy_cannot_have():
    with pytest.raises(UserError, match="train its VAE with --model"):
        MantaLM(MantaLMConfig(WORDS, N, space=VAEConfig(WORDS, N, n_encoder_layers=1)))
    for wrong in ({"kernel": "spectral"}, {"kernel": "slice"}, {"self_condition": True}):
        with pytest.raises(UserError, match="no-blocks"):
            MantaLM(MantaLMConfig(WORDS, N, blocks=True, space=VAEConfig(WORDS, N), **wrong))
    with pytest.raises(UserError, match="noise that does not depend on the text"):
        MantaLM(MantaLMConfig(WORDS, N, coupling="optimal", space=VAEConfig(WORDS, N)))
