"""LDLM in training: which part feels which term, by how much, and what the recipe's switches change."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from minildm.errors import UserError
from minildm.models.ldlm import LDLM
from minildm.models.recipe import NAIVE, Recipe, gamma
from tests.sampling.draw import draw

from .small import LENGTH, PARTS, feels, gradients, ldlm, rng, texts

WARMUP = Recipe(warmup=10, decoder_noise=0.5)


def felt(recipe: Recipe, step: int = 0) -> dict[str, set[str]]:
    """The parts that each term's gradient reaches."""
    model = ldlm(recipe)
    terms = model.losses(texts(), step=step, rng=rng()).terms
    return {
        term: {part for part, grads in gradients(model, term, step).items() if feels(grads)}
        for term in terms
    }


def test_gamma_has_the_published_values():
    table = "0.001 .0017 .0034 .0082 .021 .054 .136 .306 .568 .830 1".split()
    for i, value in enumerate(table):
        digits = len(value.split(".")[1]) if "." in value else 0
        assert gamma(i * 5000, 50_000) == pytest.approx(float(value), abs=0.5001 * 10**-digits)


def test_gamma_starts_at_least_rises_and_ends_at_one():
    values = [gamma(step, 100) for step in range(120)]
    assert values[0] == pytest.approx(0.001) and values[100:] == [1.0] * 20
    assert all(a < b for a, b in pairwise(values[:101])) and values[99] == pytest.approx(
        1, abs=0.02
    )
    assert gamma(0, 0) == 1.0


def test_each_term_reaches_its_parts_and_no_other():
    assert felt(WARMUP) == {
        "tokens": {"token_decoder"},
        "hidden": {"encoder", "decoder"},
        "diffusion": {"encoder", "denoiser"},
    }


def test_the_words_term_is_exactly_zero_elsewhere():
    grads = gradients(ldlm(WARMUP), "tokens")
    assert all(
        torch.equal(g, torch.zeros_like(g))
        for part in PARTS
        if part != "token_decoder"
        for g in grads[part]
    )


def test_cross_entropy_through_the_decoder_reaches_all_that_reconstructs():
    route = {
        "tokens": {"token_decoder", "decoder", "encoder"},
        "diffusion": {"encoder", "denoiser"},
    }
    assert felt(replace(WARMUP, decoder_loss="cross_entropy")) == route
    assert felt(NAIVE) == route


def test_the_encoder_feels_gamma_of_the_diffusion_gradient_and_the_denoiser_all_of_it():
    model = ldlm(WARMUP)
    whole = gradients(model, "diffusion", step=10)
    for step in (0, 5, 9):
        scaled = gradients(model, "diffusion", step=step)
        scale = gamma(step, 10)
        for ours, full in zip(scaled["encoder"], whole["encoder"]):
            assert torch.allclose(ours, scale * full, atol=1e-6 * scale, rtol=1e-4)
        for ours, full in zip(scaled["denoiser"], whole["denoiser"]):
            assert torch.allclose(ours, full, atol=1e-8, rtol=1e-5)


def test_the_total_gradient_is_the_sum_of_the_routes():
    model = ldlm(WARMUP)
    diffusion, hidden = gradients(model, "diffusion", step=10), gradients(model, "hidden", step=10)
    model.zero_grad()
    model.losses(texts(), step=7, rng=rng()).total.backward()
    for p, d, h in zip(model.encoder.parameters(), diffusion["encoder"], hidden["encoder"]):
        assert torch.allclose(p.grad, gamma(7, 10) * d + h, atol=1e-6, rtol=1e-4)


def test_the_encoder_gradient_scale_acts_after_the_warmup():
    grads = {
        scale: gradients(ldlm(replace(WARMUP, encoder_gradient_scale=scale)), "diffusion", step=10)
        for scale in (0.0, 0.1, 1.0)
    }
    assert not feels(grads[0.0]["encoder"])
    for ours, full in zip(grads[0.1]["encoder"], grads[1.0]["encoder"]):
        assert torch.allclose(ours, 0.1 * full, atol=1e-7, rtol=1e-4)


def test_gamma_changes_no_value():
    model = ldlm(WARMUP)
    early, late = (model.losses(texts(), step=step, rng=rng()).terms for step in (0, 10))
    assert all(early[k].item() == pytest.approx(late[k].item(), rel=1e-5) for k in early)


def test_reconstruction_terms_by_their_formulas():
    model, tokens = ldlm(replace(WARMUP, decoder_noise=0.0)), texts()
    h = model.hidden(tokens)
    h_hat = model.decode(model.encode(h), LENGTH)
    words = F.cross_entropy(
        model.token_decoder(h_hat).flatten(0, 1), tokens.flatten()
    )  # padding is a word, too
    terms = model.losses(tokens, step=0, rng=rng()).terms
    assert terms["hidden"].item() == pytest.approx((h_hat - h).square().mean().item(), rel=1e-5)
    assert terms["tokens"].item() == pytest.approx(words.item(), rel=1e-5)


def test_noise_on_the_decoder_makes_reconstruction_harder():
    """The same encoder and decoder, trained a little without noise, so that the latents carry something."""
    model = ldlm(replace(WARMUP, decoder_noise=0.0))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.losses(texts(), step=0, rng=rng()).total.backward()
        optimizer.step()
    noisy = ldlm(replace(WARMUP, decoder_noise=2.0))
    noisy.load_state_dict(model.state_dict())
    quiet, loud = (
        m.losses(texts(), step=0, rng=rng()).terms["hidden"].item() for m in (model, noisy)
    )
    assert loud > 1.2 * quiet


def test_latent_norms():
    tokens, std = texts(), {}
    for norm in ("rms", "running", "none"):
        model = ldlm(replace(WARMUP, latent_norm=norm)).train()
        z1 = model.encode(model.hidden(tokens))
        std[norm] = z1.std().item()
        if norm == "rms":
            assert torch.allclose(z1.square().mean(-1), torch.ones(z1.shape[:2]), atol=1e-3)
    assert std["running"] == pytest.approx(std["none"])  # its std starts at one


def test_the_running_std_moves_a_hundredth_a_step_in_training_alone():
    model = ldlm(replace(WARMUP, latent_norm="running")).train()
    raw = model.encode(model.hidden(texts())).std().item()  # counted, as a first part of the step
    model.losses(texts(), step=0, rng=rng())
    model.after_step(0)
    assert model.latent_std.item() == pytest.approx(0.99 + 0.01 * raw, rel=1e-5)
    model.eval().losses(texts(), step=1, rng=rng())
    assert torch.equal(model.new_std, torch.zeros(2))


@pytest.mark.parametrize("adaptive", [True, False])
def test_times_are_observed_and_adapted_if_asked(adaptive):
    """In training alone, each text counting 1/p(t) of the distribution that its time was drawn from."""
    model = ldlm(replace(WARMUP, adaptive_time=adaptive))
    model.time.cdf.copy_(torch.linspace(0, 1, 51).double() ** 3)  # late times only: few below 0.5
    model.eval().losses(texts(), step=0, rng=rng())
    assert model.time.new_count.sum() == 0
    model.train().losses(texts(), step=0, rng=rng())
    texts_in = model.time.new_count * (50 * model.time.cdf.diff() if adaptive else 1)
    assert texts_in.sum().item() == pytest.approx(6, rel=1e-5) and torch.allclose(
        texts_in, texts_in.round(), rtol=1e-5
    )
    assert (texts_in[:25].sum() <= 1.5) == adaptive


def test_half_of_the_texts_are_given_a_first_guess():
    model, seen = ldlm(WARMUP), []
    predict = model.denoiser.forward
    model.denoiser.forward = lambda zt, t, c: (
        seen.append((zt, c.clone(), torch.is_grad_enabled())) or predict(zt, t, c)
    )
    metrics = model.losses(texts(), step=0, rng=rng()).metrics
    (first, nothing, grad), (zt, c, full_grad) = seen
    assert not grad and full_grad and torch.equal(nothing, torch.zeros_like(nothing))
    assert (
        torch.equal(first, zt[::2])
        and (c[::2] != 0).any()
        and (c[1::2] == 0).all()
        and not c.requires_grad
    )
    assert metrics.keys() >= {"gamma", "latent_std"} and not any(
        v.requires_grad for v in metrics.values()
    )


def test_the_frozen_part_never_changes_nor_trains():
    model = ldlm(WARMUP).train()
    before = {k: v.clone() for k, v in model.frozen.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    model.losses(texts(), step=0, rng=rng()).total.backward()
    optimizer.step()
    assert not any(module.training for module in model.frozen.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.frozen.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.frozen.state_dict().items())


def test_padding_has_no_state():
    h = ldlm().hidden(texts())
    assert (h[texts() == 0] == 0).all() and (h[texts() != 0] != 0).any(-1).all()


def test_reading_needs_the_frozen_part():
    model = LDLM(ldlm().config)
    with pytest.raises(UserError, match="loaded without its frozen encoder"):
        model.losses(texts(), step=0, rng=rng())
    assert draw(model, 1, rng=rng(), steps=2).tokens.shape == (1, LENGTH)


def test_losses_are_a_function_of_the_rng():
    model = ldlm(WARMUP)
    first, second, other = (
        model.losses(texts(), step=3, rng=rng(seed)).total.item() for seed in (1, 1, 2)
    )
    assert first == second != other


def test_each_text_is_denoised_at_times_from_every_stratum(monkeypatch):
    """With 4 draws of 6 texts the denoiser sees 24 latents: the same 6 in each quarter of the (uniform) time distribution."""
    model, seen = ldlm(replace(WARMUP, draws=4)), []
    denoise, encode = model.denoise, model.encode
    monkeypatch.setattr(
        model, "denoise", lambda zt, t, c: seen.append((zt, t)) or denoise(zt, t, c)
    )
    codes = []
    monkeypatch.setattr(model, "encode", lambda h: codes.append(encode(h)) or codes[-1])
    model.losses(texts(), step=10, rng=rng())
    (z1,), (zt, t) = codes, seen[-1]
    assert z1.shape[0] == 6 and zt.shape[0] == t.shape[0] == 24
    assert torch.equal((4 * t.sort().values).long(), torch.arange(4).repeat_interleave(6))
    almost_data = (model.schedule.a(t) > 0.9).nonzero().flatten().tolist()
    assert almost_data
    for i in almost_data:
        distance = (zt[i] / model.schedule.a(t[i]) - z1).square().mean((1, 2))
        assert distance.argmin().item() == i % 6
