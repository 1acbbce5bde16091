"""GPT: causal, cached as uncached, blind to padding, and drawing from the distribution that `nucleus` names."""

import math

import pytest
import torch
import torch.nn.functional as F

from minildm.errors import UserError
from minildm.models.gpt import GPT, GPTConfig
from minildm.sampling.discrete import nucleus
from minildm.tokens import BOS, EOS, PAD
from tests.sampling.draw import draw

CONFIG = GPTConfig(vocab_size=20, seq_len=12, d_model=16, n_heads=2, n_layers=3)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(seed: int = 0, sharp: float = 2.0) -> GPT:
    """A GPT with larger weights than at the start of training and all kernels open, so that its opinions differ."""
    torch.manual_seed(seed)
    gpt = GPT(CONFIG).eval()
    with torch.no_grad():
        gpt.embedding.weight *= sharp
        gpt.conv.kernel += 0.5 * torch.randn(gpt.conv.kernel.shape)
    return gpt


def words(batch: int = 4, n: int = 12, seed: int = 0):
    return torch.randint(4, 20, (batch, n), generator=rng(seed))


@torch.no_grad()
def test_no_position_depends_on_later_ones():
    gpt, tokens = model(), words()
    logits = gpt.logits(tokens)
    for i in range(1, 12):
        changed = torch.cat((tokens[:, :i], words(4, 12 - i, seed=i)), dim=1)
        assert torch.allclose(gpt.logits(changed)[:, :i], logits[:, :i], atol=1e-4)
        assert (
            not torch.allclose(gpt.logits(changed)[:, i], logits[:, i], atol=1e-2)
            or changed[0, i] == tokens[0, i]
        )


@torch.no_grad()
@pytest.mark.parametrize("prompt", [None, torch.tensor([[BOS, 5, 9, 7]])])
def test_cached_generation_equals_the_most_probable_words_computed_anew(prompt):
    gpt = model()
    start = prompt if prompt is not None else torch.tensor([[BOS]])
    tokens = start.expand(2, -1)
    while tokens.shape[1] < 12:
        tokens = torch.cat((tokens, gpt.logits(tokens)[:, -1:].argmax(-1)), dim=1)
    written = draw(gpt, 2, rng=rng(), temperature=0.0, prompt=prompt).tokens
    ends = (tokens == EOS).long().cumsum(1) - (tokens == EOS).long()
    assert torch.equal(written, tokens.masked_fill(ends > 0, PAD))


def test_words_are_drawn_with_their_probabilities():
    gpt, count = model(sharp=5.0), 4000
    probs = nucleus(gpt.logits(torch.tensor([[BOS]]))[:, -1].detach(), 0.7, 0.9)[0]
    drawn = draw(gpt, count, rng=rng(), length=2, temperature=0.7, top_p=0.9).tokens[:, 1]
    frequency = torch.bincount(drawn, minlength=20) / count
    assert ((frequency - probs).abs() <= 5 * (probs * (1 - probs) / count).sqrt()).all()


def test_padding_does_not_count():
    gpt = model()
    tokens = words(2, 8)
    padded = F.pad(tokens, (0, 4), value=PAD)
    losses = [gpt.losses(x, step=0, rng=rng()).total for x in (tokens, padded)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    nats = gpt.token_nll(padded)
    assert nats.shape == (2, 12) and (nats[:, 0] == 0).all() and (nats[:, 8:] == 0).all()
    assert nats.sum().item() / 14 == pytest.approx(losses[0].item(), rel=1e-5)


def test_loss_by_its_formula():
    gpt, tokens = model(), words(1, 5)
    probabilities = gpt.logits(tokens)[0].detach().double().softmax(-1)
    expected = -sum(math.log(probabilities[i, tokens[0, i + 1]]) for i in range(4)) / 4
    assert gpt.losses(tokens, step=0, rng=rng()).total.item() == pytest.approx(expected, rel=1e-5)


def test_embeddings_start_with_unit_variance():
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(vocab_size=500, d_model=64))
    assert gpt.embed(torch.arange(500)).std().item() == pytest.approx(1, abs=0.02)


def test_embeddings_are_mixed_from_four_words_by_their_formula():
    gpt, tokens = model(), words(2, 9)
    e = 4 * F.embedding(tokens, gpt.embedding.weight)
    for start in (0, 2, 3, 8):
        mixed = gpt.embed(tokens, start)
        assert mixed.shape == (2, 9 - start, 16)
        for i in range(start, 9):
            expected = sum(gpt.conv.kernel[3 - k] * e[:, i - k] for k in range(min(4, i + 1)))
            assert torch.allclose(mixed[:, i - start], expected, atol=1e-6)


def test_only_padding_follows_the_end():
    written = draw(model(sharp=0.3), 200, rng=rng(), length=12).tokens
    ended = (written == EOS).any(1)
    assert ended.any() and (written[:, 0] == BOS).all()
    after = (written == EOS).long().cumsum(1) - (written == EOS).long() > 0
    assert (written[after] == PAD).all()


def test_the_same_rng_writes_the_same_text():
    gpt = model(sharp=0.3)
    first, second, other = (draw(gpt, 8, rng=rng(seed)).tokens for seed in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_states_are_counted_as_in_a_list():
    gpt, tokens = model(), words()
    assert torch.equal(gpt.states(tokens, 0), gpt.embed(tokens))
    assert torch.equal(
        gpt.states(tokens), gpt.states(tokens, 1)
    )  # third from last of [embedding, 1, 2, 3]
    last = gpt.stack.norm(gpt.states(tokens, -1)) @ gpt.embedding.weight.T
    assert torch.allclose(last, gpt.logits(tokens), atol=1e-5)


def test_a_recorded_path_ends_in_the_text():
    gpt = model()
    with_record, without = (draw(gpt, 3, rng=rng(), record=flag) for flag in (True, False))
    path = with_record.trajectory
    assert torch.equal(with_record.tokens, without.tokens) and without.trajectory is None
    assert path.tokens.shape == path.confidence.shape == (12, 3, 12)
    assert path.states.shape == (12, 3, 12, 16)
    assert torch.equal(path.tokens[-1], with_record.tokens) and path.times[-1] == 1
    assert (path.confidence > 0).all() and (path.confidence <= 1).all()


def test_requests_that_cannot_be_fulfilled():
    for request, sentence in (
        (dict(count=0), "cannot write 0 texts"),
        (dict(count=1, length=1), "leaves no room for a text"),
        (
            dict(count=1, length=3, prompt=torch.tensor([[1, 4, 5]])),
            "prompt has 3 tokens but the text only 3",
        ),
    ):
        with pytest.raises(UserError, match=sentence):
            draw(model(), **request, rng=rng())
