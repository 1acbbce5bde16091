"""On a device without float64, such as `standin`, the CPU does what needs it: draws of words, statistics, likelihoods."""

import numpy as np
import pytest
import torch

from minildm.dynamics.precision import double, generator_on, move, uniform
from minildm.evaluation.likelihood import figures_of
from minildm.sampling.discrete import categorical, nucleus
from minildm.sampling.relaxed import relaxed
from minildm.studies.ch09_gradient_absence import gumbel_scores
from minildm.transport.couplings import optimal
from minildm.transport.time_sampling import AdaptiveTime
from tests.sampling.draw import draw

from .small import frozen_gpt, texts
from .standin import CPU, DEVICE, stand_in
from .test_precision import GIVEN, WAYS


@pytest.fixture
def elsewhere(monkeypatch):
    with stand_in(monkeypatch) as rng:
        yield rng


def test_the_stand_in_refuses_what_such_a_device_refuses(elsewhere):
    x = torch.ones(3, device=DEVICE)
    assert x.device == DEVICE and (x + 1).sum().item() == 6 and x.to(CPU).device == CPU
    for refused, fault in (
        (x.double, TypeError),
        (lambda: torch.zeros(2, dtype=torch.float64, device=DEVICE), TypeError),
        (lambda: x.cpu().double().to(DEVICE), TypeError),
        (lambda: x + torch.ones(3), RuntimeError),
        (lambda: torch.rand(2, generator=elsewhere), RuntimeError),
    ):
        with pytest.raises(fault):
            refused()


def test_double_precision_is_on_the_cpu(elsewhere):
    x = torch.full((2,), 1 / 3, device=DEVICE)
    assert double(x).dtype == torch.float64 and double(x).device == CPU
    assert (
        move(torch.ones(2, dtype=torch.float64), DEVICE).device == CPU
        and move(torch.ones(2), DEVICE).device == DEVICE
    )
    assert (
        uniform(4, rng=elsewhere).dtype == torch.float64
        and generator_on(DEVICE, elsewhere) is elsewhere
    )


def test_words_are_drawn_from_exact_distributions(elsewhere):
    logits = torch.tensor([[0.0, 1.0, 2.0]], device=DEVICE).expand(20_000, -1)
    probs = nucleus(logits)
    assert probs.dtype == torch.float64 and probs.device == CPU
    frequency = torch.bincount(categorical(probs, elsewhere.manual_seed(0)), minlength=3) / len(
        probs
    )
    assert torch.allclose(frequency, torch.tensor([0.0, 1.0, 2.0]).softmax(0), atol=0.01)


@pytest.mark.parametrize("model_type", WAYS)
def test_every_model_writes(model_type, elsewhere):
    make, ways = WAYS[model_type]
    if model_type not in ("gpt", "vae"):
        ways = [*ways, GIVEN]
    model = make().to(DEVICE)
    for way in ways:
        how = {name: x.to(DEVICE) if isinstance(x, torch.Tensor) else x for name, x in way.items()}
        if "steps" in model.capabilities.options:
            how["steps"] = 2
        written = draw(model, 3, rng=elsewhere.manual_seed(0), record=True, **how)
        assert written.tokens.device == DEVICE and written.tokens.shape == (3, 8)
        assert 0 <= written.tokens.min().item() and written.tokens.max().item() < 20


@pytest.mark.parametrize("model_type", ["masked", "gpt", "ldlm", "vae", "manta"])
def test_likelihoods_are_those_of_the_cpu(model_type, elsewhere):
    rows = np.clip(texts(4).numpy(), 0, 11)
    torch.manual_seed(0)
    model = WAYS[model_type][0]()
    here = figures_of(model, rows)
    there = figures_of(model.to(DEVICE), rows)
    assert there.keys() == here.keys()
    for name in here:
        assert there[name] == pytest.approx(here[name], rel=1e-5)


def test_frozen_statistics_are_those_of_the_cpu(elsewhere):
    here, there = frozen_gpt(), frozen_gpt().to(DEVICE)
    there.calibrate(texts().to(DEVICE))
    assert torch.allclose(there.whiten.cpu(), here.whiten, rtol=1e-4, atol=1e-4)
    assert torch.allclose(there.mean.cpu(), here.mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", ["ldlm", "manta", "gpt", "masked", "vae"])
def test_a_training_step(model_type, elsewhere):
    model = WAYS[model_type][0]().to(DEVICE).train()
    model.losses(
        texts(4).clamp(max=11).to(DEVICE), step=0, rng=elsewhere.manual_seed(0)
    ).total.backward()
    model.after_step(99)
    assert all(p.grad is None or p.grad.device == DEVICE for p in model.parameters())


def test_adaptive_times_stay_exact_on_the_cpu(elsewhere):
    times, v = AdaptiveTime(bins=4), torch.linspace(0, 0.99, 9, device=DEVICE)
    times.observe(v, v)
    assert (
        times.cdf.device == CPU
        and times.warp(v).device == DEVICE
        and times.density(v).device == DEVICE
    )
    assert times.new_count.sum() == pytest.approx(9)


def test_memory_that_runs_out_is_no_reason_for_the_cpu():
    class Full(torch.Tensor):
        def double(self):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        double(torch.ones(1).as_subclass(Full))


def test_pairs_find_the_near_points(elsewhere):
    """Data are the noise in another order, each a little moved, so that each noise's nearest data are its own."""
    here = torch.arange(12.0).reshape(6, 2) * 10
    z0, z1 = optimal(here.to(DEVICE), (here + 0.1).flip(0).to(DEVICE), elsewhere.manual_seed(0))
    assert z0.device == DEVICE and z1.device == DEVICE and z0.shape == (6, 2)
    assert torch.allclose(z1.cpu(), z0.cpu() + 0.1)


def test_chains_and_noise_of_chapter_09(elsewhere):
    logits = torch.zeros(2, 5, device=DEVICE)
    assert gumbel_scores(logits, 3, elsewhere).device == DEVICE
    for model_type in ("gpt", "masked", "ldlm"):
        chain = relaxed(WAYS[model_type][0]().to(DEVICE), 2, 4, elsewhere.manual_seed(0))
        assert chain.run().states[-1].device == DEVICE
