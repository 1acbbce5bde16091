"""LDLM writing: samplers and their calls, any length, any compression, and the recorded path."""

import pytest
import torch

from minildm.errors import UserError
from minildm.models.recipe import Recipe

from .small import LENGTH, VOCABULARY, gradients, ldlm, rng, texts

CALLS = {"ddim": 5, "ancestral": 5, "euler": 5, "heun": 9}


@pytest.mark.parametrize("solver", CALLS)
def test_each_sampler_writes_with_as_many_calls_as_it_says(solver):
    model = ldlm().eval()
    asked = []
    predict = model.denoiser.forward
    model.denoiser.forward = lambda zt, t, c: asked.append(t) or predict(zt, t, c)
    written = model.generate(3, rng=rng(), steps=5, solver=solver)
    assert written.calls == len(asked) == CALLS[solver]
    assert written.tokens.shape == (3, LENGTH) and written.tokens.dtype == torch.int64
    assert (0 <= written.tokens).all() and (written.tokens < VOCABULARY).all()
    assert written.trajectory is None and written.seconds > 0
    assert all((t < 1).all() for t in asked)


@pytest.mark.parametrize("solver", CALLS)
def test_the_same_rng_writes_the_same_text(solver):
    model = ldlm().eval()
    ends = [model.generate(4, rng=rng(seed), steps=4, solver=solver, record=True).trajectory.states[-1]
            for seed in (1, 1, 2)]
    assert torch.equal(ends[0], ends[1]) and not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("solver", CALLS)
@pytest.mark.parametrize("warped", [True, False])
def test_a_recorded_path_is_whole_and_ends_in_the_text(solver, warped):
    model = ldlm().eval()
    model.time.cdf.copy_(torch.linspace(0, 1, 51).double() ** 2)
    plain = model.generate(3, rng=rng(), steps=4, solver=solver, warped=warped)
    written = model.generate(3, rng=rng(), steps=4, solver=solver, warped=warped, record=True)
    path = written.trajectory
    assert path.times.shape == (5,) and path.states.shape == path.clean.shape == (5, 3, LENGTH, 4)
    assert path.tokens.shape == path.confidence.shape == (5, 3, LENGTH)
    assert torch.equal(path.tokens[-1], written.tokens) and torch.equal(written.tokens, plain.tokens)
    assert torch.equal(path.clean[-1], path.states[-1])
    assert (path.confidence > 0).all() and (path.confidence <= 1).all()
    grid = torch.linspace(0, 1, 5)
    assert torch.allclose(path.times, grid.sqrt() if warped else grid, atol=0.02)
    assert (path.times[0], path.times[-1]) == (0, 1) and (path.times.diff() > 0).all()


@pytest.mark.parametrize("length", [3, 8, 20])
@pytest.mark.parametrize("compression", [1, 2, 3])
def test_other_lengths_and_compressions(length, compression):
    model = ldlm(compression=compression).eval()
    written = model.generate(2, rng=rng(), steps=2, length=length, record=True)
    latents = -(-length // compression)
    assert written.tokens.shape == (2, length) and written.trajectory.states.shape == (3, 2, latents, 4)


@pytest.mark.parametrize("compression", [2, 3])
def test_compressed_latents_train(compression):
    model = ldlm(Recipe(warmup=0), compression)
    assert model.encode(model.hidden(texts())).shape == (6, -(-LENGTH // compression), 4)
    assert any((g != 0).any() for g in gradients(model, "diffusion")["encoder"])


def test_one_step_of_ddim_is_the_first_guess():
    model = ldlm().eval()
    path = model.generate(2, rng=rng(), steps=1, solver="ddim", record=True).trajectory
    z0 = torch.randn(2, LENGTH, 4, generator=rng())
    with torch.no_grad():
        guess = model.clean(z0, torch.zeros(2), torch.zeros_like(z0))
    assert torch.equal(path.states[0], z0)
    assert torch.allclose(path.states[1], guess, atol=1e-5) and torch.equal(path.clean[0], guess)


def test_temperature_scales_the_noise_at_the_start():
    model = ldlm().eval()
    paths = [model.generate(2, rng=rng(), steps=2, temperature=scale, record=True).trajectory for scale in (1.0, 0.5)]
    assert torch.allclose(paths[1].states[0], 0.5 * paths[0].states[0])


def test_writing_is_not_training():
    model = ldlm().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    written = model.generate(2, rng=rng(), steps=3, record=True)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not written.trajectory.states.requires_grad


@pytest.mark.parametrize("request_, sentence", [
    (dict(count=0), "cannot write 0 texts"), (dict(count=1, length=1), "leaves no room for words"),
    (dict(count=1, steps=0), "cannot sample in 0 steps"), (dict(count=1, steps=-2), "cannot sample in -2 steps"),
    (dict(count=1, solver="midpint"), "no sampler 'midpint': choose one of ddim, ancestral, euler, heun"),
])
def test_requests_that_cannot_be_fulfilled(request_, sentence):
    with pytest.raises(UserError, match=sentence):
        ldlm().generate(**request_, rng=rng())
