"""Relaxed samplers: the tokens and latents of the sampler, from randomness that is fixed."""

import itertools

import pytest
import torch

from minildm.models.gpt import GPT, GPTConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.sampling.relaxed import (
    hard,
    relaxed,
    relaxed_latents,
    relaxed_tokens,
    soft,
    straight_through,
)
from minildm.tokens import BOS, MASK
from tests.models.small import ldlm, rng
from tests.sampling.draw import draw


def gpt(vocabulary: int = 20, length: int = 8) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(vocabulary, length, d_model=16, n_heads=2, n_layers=1)).eval()


def masked(vocabulary: int = 20, length: int = 8) -> MaskedDiffusion:
    torch.manual_seed(0)
    model = MaskedDiffusion(
        MaskedDiffusionConfig(vocabulary, length, d_model=16, n_heads=2, n_layers=1)
    ).eval()
    with torch.no_grad():
        model.embedding.weight *= 3
    return model


def one_hot(tokens: torch.Tensor, size: int = 20) -> torch.Tensor:
    return torch.nn.functional.one_hot(tokens, size).float()


@torch.no_grad()
def test_pure_words_are_scored_as_the_models_score_them():
    tokens = torch.randint(4, 20, (3, 8), generator=rng())
    z = one_hot(tokens)
    assert torch.allclose(gpt().relaxed_logits(z)[:, 1:], gpt().logits(tokens)[:, :-1], atol=1e-6)
    assert (gpt().relaxed_logits(z)[:, 0] == 0).all()
    assert torch.allclose(masked().relaxed_logits(z), masked().logits(tokens), atol=1e-6)


def test_a_hard_choice_with_gumbel_noise_is_a_draw_of_the_softmax():
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    noise = -(-torch.rand(200_000, 4, generator=rng(), dtype=torch.float64).log()).log()
    found, probs = hard(logits + noise).mean(0), logits.softmax(0)
    assert ((found - probs).abs() < 4 * (probs * (1 - probs) / 200_000).sqrt()).all()


def test_three_choices_agree_where_they_should():
    scores = torch.randn(5, 7, generator=rng(), dtype=torch.float64)
    assert torch.allclose(straight_through(0.7)(scores), hard(scores), atol=1e-12)
    assert torch.allclose(soft(1e-5)(scores), hard(scores), atol=1e-6)
    slopes = [
        torch.autograd.functional.jacobian(choice, scores)
        for choice in (soft(0.7), straight_through(0.7))
    ]
    assert torch.allclose(*slopes, atol=1e-12) and slopes[0].abs().max() > 0.01


@torch.no_grad()
def test_gpt_writes_each_word_from_those_before():
    model = gpt()
    chain = relaxed(model, 3, 99, rng(4))
    tokens = chain.decode(chain.run().states[-1])
    u = torch.rand(3, 8, 20, generator=rng(4), dtype=torch.float64)
    gumbel = -(-u.log()).log()
    assert (tokens[:, 0] == BOS).all() and len(chain.times) == 8
    for i in range(1, 8):
        assert torch.equal(
            tokens[:, i], (model.logits(tokens[:, :i])[:, -1] + gumbel[:, i]).argmax(-1)
        )


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 64])
def test_a_masked_chain_has_the_distribution_of_the_ancestral_sampler(steps):
    """Two words of a vocabulary of 8, with one step the product of the marginals, with many the mean over both orders."""
    model, count = masked(8, 2), 40_000
    chain = relaxed(model, count, steps, rng())
    pairs = chain.decode(chain.run().states[-1])
    found = torch.bincount(pairs[:, 0] * 8 + pairs[:, 1], minlength=64).double() / count
    blank = torch.tensor([[MASK, MASK]])
    first = model.logits(blank).softmax(-1)[0]
    probs = torch.zeros(64, dtype=torch.float64)
    for v, w in itertools.product(range(8), repeat=2):
        after = [
            model.logits(torch.tensor([pair])).softmax(-1)[0] for pair in ([v, MASK], [MASK, w])
        ]
        orders = (first[0, v] * after[0][1, w] + first[1, w] * after[1][0, v]) / 2
        at_once = first[0, v] * first[1, w]
        probs[8 * v + w] = at_once / steps + (1 - 1 / steps) * orders
    assert ((found - probs).abs() < 5 * (probs * (1 - probs) / count).sqrt() + 1e-9).all()


def test_given_words_stay_and_kept_tells_what_is_written():
    tokens = torch.tensor([[BOS, 5, MASK, 7, MASK, MASK, 9, MASK]])
    chain = relaxed_tokens(masked(), tokens, 4, rng())
    path = chain.run()
    states = path.states.argmax(-1)
    assert (states[:, tokens != MASK] == tokens[tokens != MASK]).all() and (
        states[-1] != MASK
    ).all()
    for k in range(5):
        assert torch.equal(chain.kept(k)[..., 0] == 1, states[k] != MASK)


@torch.no_grad()
def test_a_latent_chain_ends_where_ddim_ends():
    model = ldlm().eval()
    theirs = draw(model, 4, rng=rng(2), steps=6, solver="ddim", record=True)
    chain = relaxed(model, 4, 6, rng(2))
    path = chain.run()
    assert torch.equal(chain.decode(path.states[-1]), theirs.tokens)
    assert torch.allclose(path.states[..., : chain.moving], theirs.trajectory.states, atol=1e-5)
    assert torch.allclose(
        path.states[1:, ..., chain.moving :], theirs.trajectory.denoised[:-1], atol=1e-5
    )
    assert (chain.kept(6) == 0).all()


@torch.no_grad()
def test_a_latent_chain_may_begin_at_any_time():
    model = ldlm().eval()
    z = torch.randn(2, 8, 4, generator=rng())
    chain = relaxed_latents(model, z, torch.tensor([0.4, 1.0]), 8)
    denoised = model.denoise(z, torch.full((2,), 0.4), torch.zeros_like(z))
    assert torch.allclose(chain.run().states[-1][..., :4], denoised, atol=1e-6)
