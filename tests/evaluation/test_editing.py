"""Planted gaps and damage, a GPT that fills from the left, and what surprises a model."""

import random

import pytest
import torch

from minildm.evaluation.editing import damage, fill_from_left, gaps, outcome
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.ldlm import SELF_CHECK
from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.models.vae import VAEConfig
from minildm.tokens import BOS, EOS, NUM_SPECIALS, PAD
from tests.models.small import ldlm
from tests.models.small import texts as texts_of_an_ldlm

SIZES = {"vocab_size": 20, "seq_len": 16, "d_model": 16, "n_heads": 2, "n_layers": 1}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(count: int = 6) -> torch.Tensor:
    """Rows <bos> words <eos> <pad>, with 5 to 10 words."""
    rows = torch.full((count, SIZES["seq_len"]), PAD)
    for k, row in enumerate(rows):
        words = 5 + k
        row[0], row[words + 1] = BOS, EOS
        row[1 : words + 1] = torch.randint(
            NUM_SPECIALS, SIZES["vocab_size"], (words,), generator=rng(k)
        )
    return rows


def model(kind: str):
    torch.manual_seed(0)
    if kind == "manta":
        space = VAEConfig(vocab_size=20, seq_len=16, latent=8, d_model=16, n_heads=2)
        return MantaLM(MantaLMConfig(**SIZES, space=space)).eval()
    return {
        "gpt": GPT(GPTConfig(**SIZES)),
        "masked": MaskedDiffusion(MaskedDiffusionConfig(**SIZES)),
    }[kind].eval()


def test_a_gap_is_one_span_of_words_of_the_asked_fraction():
    tokens = texts()
    for row, text in zip(gaps(tokens, 0.4, random.Random(0)), tokens):
        places = row.nonzero()[:, 0]
        assert len(places) == round(0.4 * int((text >= NUM_SPECIALS).sum()))
        assert places[-1] - places[0] == len(places) - 1
        assert (text[row] >= NUM_SPECIALS).all()


def test_damage_changes_the_asked_fraction_of_words_and_nothing_else():
    tokens = texts()
    broken = damage(tokens, 0.3, 20, random.Random(0))
    changed = broken != tokens
    assert changed.sum(1).tolist() == [
        max(round(0.3 * int((row >= NUM_SPECIALS).sum())), 1) for row in tokens
    ]
    assert (
        (tokens[changed] >= NUM_SPECIALS).all()
        and (broken[changed] >= NUM_SPECIALS).all()
        and (broken < 20).all()
    )


def test_damage_draws_all_other_words_alike():
    tokens = torch.full((3000, 1), 7)
    drawn = damage(tokens, 1.0, 10, random.Random(0)).flatten().bincount(minlength=10)
    assert drawn[7] == 0 and (drawn[NUM_SPECIALS:7] > 500).all() and (drawn[8:] > 500).all()


def test_a_gpt_fills_gaps_with_its_own_most_probable_words():
    gpt, tokens = model("gpt"), texts()
    mask = gaps(tokens, 0.4, random.Random(1))
    filled = fill_from_left(gpt, tokens, ~mask, rng(), temperature=0.0)
    assert torch.equal(filled[~mask], tokens[~mask])
    best = gpt.logits(filled)[:, :-1].argmax(-1)
    assert torch.equal(filled[:, 1:][mask[:, 1:]], best[mask[:, 1:]])


@pytest.mark.parametrize("kind", ["masked", "manta"])
def test_the_likelihood_of_a_token_does_not_depend_on_that_token(kind):
    made, tokens = model(kind), texts()
    other = tokens.clone()
    other[:, 3] = NUM_SPECIALS + (other[:, 3] - NUM_SPECIALS + 1) % 16
    first, second = (made.token_nll(t, rng(), parts=16)[:, 3] for t in (tokens, other))
    logits = {"masked": lambda: made.logits(tokens.index_fill(1, torch.tensor([3]), 3))[:, 3]}.get(
        kind
    )
    assert not torch.allclose(first, second)
    if logits:
        log_p = logits().log_softmax(-1)
        assert torch.allclose(first, -log_p.gather(1, tokens[:, 3:4])[:, 0], atol=1e-5)
        assert torch.allclose(second, -log_p.gather(1, other[:, 3:4])[:, 0], atol=1e-5)


@torch.no_grad()
def test_the_likelihood_of_an_ldlm_is_the_mean_over_self_checks():
    made, tokens = ldlm().eval(), texts_of_an_ldlm()
    noise = rng(3)
    evaluations = [
        made.self_check_logits(tokens, SELF_CHECK, noise)
        .log_softmax(-1)
        .gather(-1, tokens[..., None])[..., 0]
        for _ in range(4)
    ]
    wanted = -torch.stack(evaluations).mean(0).masked_fill(tokens == PAD, 0)
    assert torch.allclose(made.token_nll(tokens, rng(3), parts=4)[:, 1:], wanted[:, 1:], atol=1e-5)
    z1, t = made.encode(made.hidden(tokens)), made.time.warp(torch.tensor([0.3]))
    zt = made.schedule.a(t) * z1 + made.schedule.b(t) * torch.randn(z1.shape, generator=rng(5))
    guess = made.denoise(zt, t.expand(len(zt)), torch.zeros_like(zt))
    assert torch.equal(
        made.self_check_logits(tokens, 0.3, rng(5)).argmax(-1),
        made.decode_tokens(guess, tokens.shape[1])[0],
    )


def test_likelihoods_are_zero_where_nothing_can_be_written():
    tokens = texts()
    nats = model("masked").token_nll(tokens, rng())
    assert (
        (nats[:, 0] == 0).all()
        and (nats[tokens == PAD] == 0).all()
        and (nats[tokens >= NUM_SPECIALS] > 0).all()
    )


def test_outcome_counts_words_that_stayed_right_and_that_became_right():
    truth = torch.tensor([[BOS, 5, 6, 7, 8, EOS]])
    before = torch.tensor([[BOS, 5, 9, 10, 8, EOS]])
    after = torch.tensor([[BOS, 5, 6, 11, 9, EOS]])
    assert outcome(before, after, truth) == {"kept": 0.5, "restored": 0.5}
