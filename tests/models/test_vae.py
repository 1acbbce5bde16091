"""The VAE: its losses against closed forms, its floor and free bits, its running moments, and who sees whom."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from minildm.errors import UserError
from minildm.models.vae import START, VAE, VAEConfig
from tests.sampling.draw import draw

from .small import rng

SIZES = {"vocab_size": 12, "seq_len": 6, "latent": 4, "d_model": 16, "n_heads": 2}


def model(**changes) -> VAE:
    torch.manual_seed(0)
    return VAE(VAEConfig(**{**SIZES, **changes}))


def tokens(batch: int = 5) -> torch.Tensor:
    return torch.randint(12, (batch, 6), generator=rng(1))


@torch.no_grad()
def test_losses_are_cross_entropy_of_a_draw_and_weighted_nats():
    vae, text = model(kl=0.3), tokens()
    found = vae.losses(text, step=0, rng=rng(2))
    mean, std = vae.posteriors(text)
    z = mean + std * torch.randn(mean.shape, generator=rng(2))
    channels = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).mean((0, 1))
    assert torch.allclose(
        found.terms["tokens"], F.cross_entropy(vae.logits(z).flatten(0, 1), text.flatten())
    )
    assert torch.allclose(found.terms["kl"], 0.3 * channels.sum())
    assert torch.allclose(found.metrics["nats"], channels.sum()) and torch.allclose(
        found.metrics["std"], std.mean()
    )
    assert found.metrics["active"] == (channels > 0.1).sum()


def test_free_bits_are_a_floor_of_each_channel_and_take_away_its_gradient():
    vae = model(kl=1.0, free_bits=1e3)
    found = vae.losses(tokens(), step=0, rng=rng())
    assert found.terms["kl"] == 4 * 1e3
    found.terms["kl"].backward()
    assert vae.log_std.grad is None or not vae.log_std.grad.any()


def test_no_posterior_is_narrower_than_the_floor_and_all_words_have_one_std():
    vae = model(floor=0.3)
    with torch.no_grad():
        assert torch.allclose(vae.posteriors(tokens())[1], torch.tensor((0.3**2 + START**2) ** 0.5))
        vae.log_std.copy_(torch.tensor([-50.0, -2.0, 0.0, 1.0]))
        std = vae.posteriors(tokens())[1]
    assert (std == std[0, 0]).all() and std[0, 0, 0] == pytest.approx(0.3) and (std >= 0.3).all()
    assert torch.allclose(std[0, 0, 1:] ** 2, 0.3**2 + (2 * torch.tensor([-2.0, 0.0, 1.0])).exp())


@torch.no_grad()
def test_without_blocks_a_code_is_its_words_alone_and_the_decoder_reads_neighbors():
    text = tokens()
    other = text.clone()
    other[:, 3] = (text[:, 3] + 1) % 12
    for n_layers, alone in ((0, True), (1, False)):
        vae = model(n_encoder_layers=n_layers)
        near = (vae.posteriors(text)[0] - vae.posteriors(other)[0])[:, [0, 1, 2, 4, 5]]
        assert bool((near == 0).all()) == alone
    vae = model()
    read = vae.decode(vae.encode(text)) - vae.decode(vae.encode(other))
    assert read[:, 0].abs().max() > 1e-6


@torch.no_grad()
def test_the_codebook_is_what_texts_are_encoded_to():
    vae, text = model(), tokens()
    vae.mean.copy_(torch.randn(4, generator=rng(3)))
    vae.square.copy_(vae.mean**2 + 3)
    book = vae.codebook()
    assert torch.allclose(book.means[text], vae.encode(text), atol=1e-6)
    assert torch.allclose(book.variances, (vae.posteriors(text)[1][0, 0] / vae.std) ** 2)


def test_moments_follow_the_latents_and_standardize_them():
    vae = model().train()
    for step in range(400):
        vae.losses(tokens(64), step=step, rng=rng(step))
        vae.after_step(step)
    z = torch.cat([vae.encode(tokens(64), rng(seed)) for seed in range(100)]).flatten(0, 1)
    assert z.mean(0).abs().max() < 0.05 and (z.std(0) - 1).abs().max() < 0.05
    before = vae.mean.clone()
    vae.eval().losses(tokens(), step=0, rng=rng())
    assert vae.parts == 0 and torch.equal(vae.mean, before)


def test_moments_of_a_step_are_those_of_all_its_parts():
    vae, halves = model().train(), (tokens(64)[::2], tokens(64)[1::2])
    z = torch.cat([vae.encode(half, rng(i)) * vae.std + vae.mean for i, half in enumerate(halves)])
    for i, half in enumerate(halves):
        vae.losses(half, step=0, rng=rng(i))
    vae.after_step(0)
    assert torch.allclose(vae.mean, 0.02 * z.mean((0, 1)), atol=1e-6)
    assert torch.allclose(vae.square, 0.98 + 0.02 * z.square().mean((0, 1)), atol=1e-6)
    assert vae.parts == 0 and not vae.new_moments.any()


@torch.no_grad()
def test_decode_undoes_the_scale_of_encode():
    vae, text = model(), tokens()
    vae.mean.fill_(1.5)
    vae.square.fill_(1.5**2 + 4)
    assert torch.allclose(
        vae.decode(vae.encode(text)), vae.logits(vae.posteriors(text)[0]), atol=1e-5
    )
    words, chance = vae.decode_tokens(vae.encode(text))
    probs = vae.decode(vae.encode(text)).softmax(-1)
    assert torch.equal(words, probs.argmax(-1)) and torch.allclose(chance, probs.amax(-1))


def test_texts_are_a_function_of_the_seed():
    vae = model().eval()
    first, again, other = (draw(vae, 3, rng=rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.tokens, again.tokens) and not torch.equal(first.tokens, other.tokens)
    assert first.nfe == 1 and first.tokens.shape == (3, 6)
    with pytest.raises(UserError, match="length of 1"):
        draw(vae, 2, rng=rng(), length=1)
    with pytest.raises(UserError):
        draw(vae, 0, rng=rng())


def test_every_parameter_is_trained():
    vae = model()
    vae.losses(tokens(), step=0, rng=rng()).total.backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in vae.parameters())
