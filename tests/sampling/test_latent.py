"""LDLM writing: samplers and their calls, any length, any compression, and the recorded path."""

from dataclasses import replace

import pytest
import torch

from minildm.errors import UserError
from minildm.models.generation import GenerationDefaults
from minildm.models.guidance import LEAST_SIGNAL, contains
from minildm.models.ldlm import LDLM, LDLMConfig
from minildm.models.recipe import Recipe
from minildm.transport.paths import interpolate
from tests.models.small import LENGTH, VOCAB_SIZE, agrees, gradients, ldlm, rng, texts
from tests.sampling.draw import draw

NFE = {"ddim": 5, "multistep": 5, "ancestral": 5, "euler": 5, "heun": 9}


@pytest.mark.parametrize("solver", NFE)
def test_each_sampler_writes_with_as_many_evaluations_as_it_says(solver):
    model = ldlm().eval()
    asked = []
    predict = model.denoiser.forward
    model.denoiser.forward = lambda zt, t, c: asked.append(t) or predict(zt, t, c)
    written = draw(model, 3, rng=rng(), steps=5, solver=solver)
    assert written.nfe == len(asked) == NFE[solver]
    assert written.tokens.shape == (3, LENGTH) and written.tokens.dtype == torch.int64
    assert (0 <= written.tokens).all() and (written.tokens < VOCAB_SIZE).all()
    assert written.trajectory is None and written.seconds > 0
    assert all((t < 1).all() for t in asked)


@pytest.mark.parametrize("solver", NFE)
def test_the_same_rng_writes_the_same_text(solver):
    model = ldlm().eval()
    ends = [
        draw(model, 4, rng=rng(seed), steps=4, solver=solver, record=True).trajectory.states[-1]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("solver", NFE)
@pytest.mark.parametrize("warped", [True, False])
def test_a_recorded_path_is_whole_and_ends_in_the_text(solver, warped):
    model = ldlm().eval()
    model.time.cdf.copy_(torch.linspace(0, 1, 51).double() ** 2)
    plain = draw(model, 3, rng=rng(), steps=4, solver=solver, warped=warped)
    written = draw(model, 3, rng=rng(), steps=4, solver=solver, warped=warped, record=True)
    path = written.trajectory
    assert path.times.shape == (5,) and path.states.shape == path.denoised.shape == (
        5,
        3,
        LENGTH,
        4,
    )
    assert path.tokens.shape == path.confidence.shape == (5, 3, LENGTH)
    assert torch.equal(path.tokens[-1], written.tokens) and torch.equal(
        written.tokens, plain.tokens
    )
    assert torch.equal(path.denoised[-1], path.states[-1])
    assert (path.confidence > 0).all() and (path.confidence <= 1).all()
    grid = torch.linspace(0, 1, 5)
    assert torch.allclose(path.times, grid.sqrt() if warped else grid, atol=0.02)
    assert (path.times[0], path.times[-1]) == (0, 1) and (path.times.diff() > 0).all()


@pytest.mark.parametrize("length", [3, 8, 20])
@pytest.mark.parametrize("compression", [1, 2, 3])
def test_other_lengths_and_compressions(length, compression):
    model = ldlm(compression=compression).eval()
    written = draw(model, 2, rng=rng(), steps=2, length=length, record=True)
    latents = -(-length // compression)
    assert written.tokens.shape == (2, length) and written.trajectory.states.shape == (
        3,
        2,
        latents,
        4,
    )


@pytest.mark.parametrize("compression", [2, 3])
def test_compressed_latents_train(compression):
    model = ldlm(Recipe(warmup=0), compression)
    assert model.encode(model.hidden(texts())).shape == (6, -(-LENGTH // compression), 4)
    assert any((g != 0).any() for g in gradients(model, "diffusion")["encoder"])


def test_one_step_of_ddim_is_the_first_guess():
    model = ldlm().eval()
    path = draw(model, 2, rng=rng(), steps=1, solver="ddim", record=True).trajectory
    z0 = torch.randn(2, LENGTH, 4, generator=rng())
    with torch.no_grad():
        guess = model.denoise(z0, torch.zeros(2), torch.zeros_like(z0))
    assert torch.equal(path.states[0], z0)
    assert torch.allclose(path.states[1], guess, atol=1e-5) and torch.equal(path.denoised[0], guess)


def test_temperature_scales_the_noise_of_ancestral_steps():
    """From one start, with one prediction, what a step adds is the posterior's mean and temperature times one draw."""
    model = ldlm().eval()
    model.config = replace(model.config, generation=GenerationDefaults(temperature=0.5))
    first = {
        temperature: draw(
            model, 2, rng=rng(), steps=2, temperature=temperature, record=True
        ).trajectory.states[:2]
        for temperature in (0.0, 0.5, 1.0, None)
    }
    assert all(torch.equal(path[0], first[1.0][0]) for path in first.values())
    assert torch.allclose(
        first[0.5][1] - first[0.0][1], 0.5 * (first[1.0][1] - first[0.0][1]), atol=1e-6
    )
    assert torch.equal(first[None][1], first[0.5][1]) and not torch.equal(
        first[0.5][1], first[1.0][1]
    )
    with pytest.raises(
        UserError,
        match="solver ddim adds no noise that a temperature could scale: take solver ancestral",
    ):
        draw(model, 2, rng=rng(), solver="ddim", temperature=0.5)


def test_sampling_is_not_training():
    model = ldlm().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    written = draw(model, 2, rng=rng(), steps=3, record=True)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not written.trajectory.states.requires_grad


@pytest.mark.parametrize("compression", [1, 2])
@pytest.mark.parametrize("solver", NFE)
def test_a_prompt_and_the_words_around_gaps_are_kept(solver, compression):
    model, prompt, truth = ldlm(compression=compression).eval(), torch.tensor([[1, 5, 9]]), texts(3)
    written = draw(model, 3, rng=rng(), steps=3, solver=solver, prompt=prompt)
    assert torch.equal(written.tokens[:, :3], prompt.expand(3, -1)) and written.nfe == (
        5 if solver == "heun" else 3
    )
    mask = torch.zeros(3, LENGTH, dtype=torch.bool)
    mask[0, 2:5], mask[1, 1] = True, True
    filled = draw(model, 3, rng=rng(), steps=3, solver=solver, prompt=truth, observed=~mask).tokens
    assert torch.equal(filled[~mask], truth[~mask])
    assert torch.equal(
        draw(model, 3, rng=rng(), steps=3, solver=solver, prompt=truth, observed=~mask).tokens,
        filled,
    )


def loud():
    """An LDLM whose untrained decoders have opinions."""
    model = ldlm().eval()
    with torch.no_grad():
        for layer in (
            model.decoder.in_proj,
            model.decoder.out_proj,
            model.token_decoder.in_proj,
            model.token_decoder.out_proj,
        ):
            layer.weight *= 20
    return model


def guided(model, z, t, target, scale):
    """A guided prediction by hand: z_hat - scale b^2/a grad Phi, through decoder and token decoder."""
    z = z.clone().requires_grad_()
    denoised = model.denoise(z, torch.full((len(z),), t), torch.zeros_like(z))
    cost = target(model.token_decoder(model.decode(denoised, LENGTH)).log_softmax(-1)).sum()
    push = torch.autograd.grad(cost, z)[0]
    a, b = model.schedule.a(torch.tensor(t)), model.schedule.b(torch.tensor(t))
    return (denoised - scale * b**2 / a.clamp(min=LEAST_SIGNAL) * push).detach()


def test_targets_guide_each_prediction():
    """The second evaluation is checked, where a is above its least; c is forgotten so that one evaluation is a function of z and t."""
    model, target = loud(), agrees(texts(3), torch.ones(3, LENGTH, dtype=torch.bool))
    predict = model.denoiser.forward
    model.denoiser.forward = lambda zt, t, c: predict(zt, t, torch.zeros_like(c))
    for cost in (contains(7), target):
        path = draw(
            model, 3, rng=rng(), steps=3, guidance_scale=1.5, record=True, guidance_target=cost
        ).trajectory
        for k in (1, 2):
            wanted = guided(model, path.states[k], float(path.times[k]), cost, 1.5)
            plain = guided(model, path.states[k], float(path.times[k]), cost, 0.0)
            assert (
                torch.allclose(path.denoised[k], wanted, atol=1e-4)
                and (wanted - plain).abs().max() > 1e-3
            )


@torch.no_grad()
@pytest.mark.parametrize("compression", [1, 2])
def test_observed_words_are_put_back_into_each_guess_and_shown_with_it(compression):
    model, truth, seen = ldlm(compression=compression).eval(), texts(3), []
    gap = torch.arange(LENGTH).eq(torch.tensor([[3], [4]])).any(0)
    observed = ~gap.unflatten(0, (-1, compression)).any(1)[:, None]
    predict = model.denoiser.forward
    model.denoiser.forward = lambda zt, t, c: seen.append((c, predict(zt, t, c))) or seen[-1][1]
    path = draw(
        model, 3, rng=rng(), steps=3, prompt=truth, observed=~gap[None], record=True
    ).trajectory
    for k, (c, guess) in enumerate(seen):
        words = model.decode_tokens(guess, LENGTH)[0].where(gap, truth)
        assert torch.allclose(
            path.denoised[k], model.encode(model.hidden(words)).where(observed, guess), atol=1e-6
        )
        assert torch.equal(c, path.denoised[k - 1] if k else torch.zeros_like(c))
    assert not torch.equal(path.denoised[0], seen[0][1])


def test_a_guidance_scale_of_zero_is_no_guidance():
    model = loud()
    plain, weak, strong = (
        draw(model, 4, rng=rng(), steps=4, record=True, **ask).trajectory.states[-1]
        for ask in (
            {},
            {"guidance_target": contains(7), "guidance_scale": 0.0},
            {"guidance_target": contains(7)},
        )
    )
    assert torch.allclose(plain, weak, atol=1e-5) and not torch.allclose(plain, strong, atol=1e-3)


@pytest.mark.parametrize("start", [0.2, 0.7])
def test_a_start_is_the_text_noised_to_the_time_of_that_fraction_of_the_steps(start):
    model, truth = ldlm(compression=2).eval(), texts(3)
    model.time.cdf.copy_(torch.linspace(0, 1, 51).double() ** 2)
    path = draw(model, 3, rng=rng(2), steps=4, prompt=truth, start=start, record=True).trajectory
    t, z0 = model.time.warp(torch.tensor([start])), torch.randn(3, LENGTH // 2, 4, generator=rng(2))
    with torch.no_grad():
        z1 = model.encode(model.hidden(truth))
    assert path.times[0] == t and path.times[-1] == 1 and len(path.times) == 5
    assert torch.allclose(
        path.states[0], interpolate(model.schedule, z1, z0, t.expand(3)), atol=1e-5
    )


def test_encoding_a_text_needs_the_frozen_encoder_and_sampling_freely_does_not():
    model = ldlm().eval()
    model.frozen = None
    with pytest.raises(UserError, match="loaded without its frozen encoder"):
        draw(model, 2, rng=rng(), steps=2, prompt=texts(2), start=0.5)
    with pytest.raises(UserError, match="loaded without its frozen encoder"):
        draw(model, 2, rng=rng(), steps=2, prompt=texts(2)[:, :3])
    assert draw(model, 2, rng=rng(), steps=2).tokens.shape == (2, LENGTH)


@pytest.mark.parametrize(
    "request_, sentence",
    [
        (
            dict(count=1, prompt=torch.ones(1, LENGTH, dtype=torch.long)),
            f"the prompt has {LENGTH} tokens but the text only",
        ),
        (dict(count=0), "cannot write 0 texts"),
        (dict(count=1, length=1), "leaves no room for a text"),
        (dict(count=1, steps=0), "cannot sample in 0 steps"),
        (dict(count=1, steps=-2), "cannot sample in -2 steps"),
        (
            dict(count=1, solver="midpint"),
            "no solver 'midpint': choose one of ancestral, ddim, multistep, euler, heun",
        ),
    ],
)
def test_requests_that_cannot_be_fulfilled(request_, sentence):
    with pytest.raises(UserError, match=sentence):
        draw(ldlm(), **request_, rng=rng())


def test_a_default_solver_that_there_is_not_is_refused_when_the_model_is_made():
    with pytest.raises(UserError, match="no solver 'midpint': choose one of ancestral, ddim"):
        LDLM(LDLMConfig(generation=GenerationDefaults(solver="midpint")))
