"""The sampler with a receding horizon: evaluations, temperature, observed tokens, and any length."""

import pytest
import torch

from minildm.errors import UserError
from minildm.evaluation.disturbances import Push, disturbed
from minildm.models.generation import GenerationConfig
from minildm.models.horizon import HorizonConfig, HorizonLM
from minildm.models.measures import cross_entropies
from minildm.sampling import Sampler
from minildm.sampling.horizon import at_its_level

from ..models.small import LENGTH, VOCAB_SIZE, frozen_gpt, rng, texts


@pytest.fixture(scope="module")
def model() -> HorizonLM:
    torch.manual_seed(0)
    config = HorizonConfig(
        VOCAB_SIZE,
        LENGTH,
        hidden=16,
        latent=4,
        d_model=16,
        n_heads=2,
        n_decoder_layers=1,
        n_denoiser_layers=2,
        reach=4,
        shortest=2.0,
        longest=16.0,
    )
    found = HorizonLM(config, frozen_gpt())
    with torch.no_grad():
        for p in found.denoiser.parameters():
            p += 0.05 * torch.randn(p.shape, generator=rng(p.numel()))
    return found.eval()


def draw(model, count=3, seed=0, record=False, prompt=None, observed=None, **asked):
    sampler = Sampler(model, GenerationConfig(**asked))
    return sampler(count, rng=rng(seed), prompt=prompt, observed=observed, record=record)


@pytest.mark.parametrize(
    "horizon, refinements, length, nfe", [(8, 4, 8, 8), (4, 2, 8, 6), (1, 1, 8, 8), (4, 2, 32, 18)]
)
def test_evaluations_follow_from_horizon_refinements_and_length(
    model, horizon, refinements, length, nfe
):
    found = draw(model, horizon=horizon, refinements=refinements, length=length)
    assert found.tokens.shape == (3, length) and abs(found.nfe - nfe) <= 1


def test_a_horizon_that_is_not_named_is_the_text_or_half_a_text_of_training(model):
    assert model.horizon(None, 5) == model.horizon(None, LENGTH) == LENGTH
    assert model.horizon(None, LENGTH + 1) == LENGTH // 2
    assert model.horizon(20, LENGTH) == 20
    with pytest.raises(UserError, match="at most 7 for texts of this length"):
        draw(model, horizon=LENGTH, length=4 * LENGTH)


def test_what_is_finished_is_not_drawn_again_and_long_ago_is_not_read(model):
    found = draw(model, record=True, horizon=4, refinements=2, length=32).trajectory
    states = found.states
    finished = (states[1:] == states[:-1]).all(-1).all(1)  # (interval, position)
    assert finished[-1, :20].all() and not finished[-1, -1]
    assert torch.equal(states[-1, :, 0], states[6, :, 0])


def test_the_first_latents_lead(model):
    """With H = 4 the first latent is data when the last one is still the noise it began as."""
    found = draw(model, record=True, horizon=4, refinements=2).trajectory
    assert torch.equal(found.states[3, :, -1], found.states[0, :, -1])
    assert torch.equal(found.states[3, :, 0], found.states[-1, :, 0])


def test_without_temperature_all_noise_is_that_of_the_start(model):
    still = [draw(model, temperature=0.0, record=True).trajectory.states for _ in range(2)]
    assert torch.equal(*still)
    warm = draw(model, temperature=1.0, record=True).trajectory.states
    assert torch.equal(warm[0], still[0][0]) and not torch.equal(warm[-1], still[0][-1])
    assert torch.isfinite(warm).all()
    ddim = draw(model, solver="ddim", record=True).trajectory.states
    assert torch.isfinite(ddim).all() and not torch.allclose(ddim[-1], still[0][-1])


def test_prompts_and_gaps_are_kept(model):
    given = texts(3)
    begun = draw(model, prompt=given[:, :3])
    assert torch.equal(begun.tokens[:, :3], given[:, :3])
    observed = torch.rand(3, LENGTH, generator=rng(1)) < 0.5
    filled = draw(model, prompt=given, observed=observed)
    assert torch.equal(filled.tokens[observed], given[observed])


def test_a_disturbance_is_met_by_the_policy_and_not_by_recorded_controls(model):
    sampler = Sampler(model, GenerationConfig(horizon=8, refinements=4))
    found = disturbed(sampler, 2, Push(size=1.0, moment=0.5))
    plan, closed, replayed = found.plan, found.closed, found.replayed
    assert torch.isfinite(closed.states).all() and torch.isfinite(replayed.states).all()
    assert not torch.equal(plan.states[-1], closed.states[-1])


def test_a_disturbed_state_shows_its_own_noise_level(model):
    """a z_1 + b z_0 + delta xi is, scaled, a point of the path at an earlier time."""
    schedule = model.schedule
    z1, z0, xi = torch.randn(3, 500, 8, 4, generator=rng(3))
    z1 = torch.nn.functional.rms_norm(z1, (4,))
    t = torch.full((1, 8), 0.6)
    t[0, 0], t[0, 7] = 1.0, 0.0
    z = schedule.a(t)[..., None] * z1 + schedule.b(t)[..., None] * z0
    moving = ((t > 0) & (t < 1))[..., None]
    same, still = at_its_level(schedule, z.flatten(0, 1)[None], t.repeat(1, 500))
    assert torch.equal(same, z.flatten(0, 1)[None]) and torch.equal(still, t.repeat(1, 500))
    pushed = (z + 0.9 * xi * moving).flatten(0, 1)[None]
    scaled, before = at_its_level(schedule, pushed, t.repeat(1, 500))
    inside = moving[0, :, 0].repeat(500)
    assert torch.equal(scaled[:, ~inside], pushed[:, ~inside])
    found = before[0, inside]
    assert (found == found[0]).all() and found[0] < 0.6
    ratio = schedule.a(found[0]) / schedule.b(found[0])
    wanted = schedule.a(t[0, 3]) / (schedule.b(t[0, 3]) ** 2 + 0.81).sqrt()
    assert ratio == pytest.approx(float(wanted), rel=0.05)
    assert scaled[0, inside].var() == pytest.approx(1, abs=0.05)


def test_the_estimate_changes_disturbed_texts_and_no_others(model):
    both = [GenerationConfig(horizon=8, refinements=4, noise_estimate=on) for on in (False, True)]
    push = Push(size=3.0, moment=0.5)
    without, with_it = (disturbed(Sampler(model, config), 2, push) for config in both)
    assert torch.equal(without.plan.states, with_it.plan.states)
    assert not torch.equal(without.closed.states[-1], with_it.closed.states[-1])
    assert with_it.closed.denoised is not None  # what was predicted is found by scheduled times


def test_training_lowers_the_loss_of_latents_under_way():
    torch.manual_seed(0)
    config = HorizonConfig(
        VOCAB_SIZE, LENGTH, hidden=16, latent=4, d_model=16, n_heads=2, n_denoiser_layers=2,
        shortest=2.0, longest=16.0,
    )  # fmt: skip
    model = HorizonLM(config, frozen_gpt()).train()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), 3e-3)
    tokens = texts(16)
    found = []
    for step in range(80):
        losses = model(tokens, step=step, rng=rng(step))
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        model.after_step(step)
        found.append(float(losses.terms["diffusion"].detach()))
    assert sum(found[-10:]) < 0.8 * sum(found[:10])
    model.eval()
    logits = model.token_logits(model.embed(tokens), LENGTH)
    assert torch.isfinite(cross_entropies(logits, tokens)).all()


@pytest.mark.parametrize(
    "asked, sentence",
    [
        ({"steps": 8}, "has no number of steps to choose"),
        ({"offset": 1.0}, "has no noise levels with an offset"),
        ({"horizon": 0}, "at least 1 of both"),
        ({"refinements": 0}, "at least 1 of both"),
        ({"solver": "euler"}, "choose one of ancestral, ddim"),
        ({"solver": "ddim", "temperature": 0.5}, "adds no noise that a temperature"),
    ],
)
def test_requests_that_cannot_be_fulfilled(model, asked, sentence):
    with pytest.raises(UserError, match=sentence):
        draw(model, **asked)
