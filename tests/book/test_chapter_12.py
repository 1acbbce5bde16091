"""The boxed equations of chapter 12, both sides evaluated."""

import math
import re

import pytest
import torch
from torch import Tensor

from minildm.models.recipe import gamma
from minildm.studies.record import results
from minildm.transport.heads import noise_from_denoised, velocity_from_denoised
from minildm.transport.paths import interpolate
from minildm.transport.schedules import Linear, Tangent, expand
from minildm.transport.time_sampling import AdaptiveTime

from .draws import randn, rng
from .notebooks import CHAPTERS, load, prose


def test_the_best_noisy_decoder_is_a_posterior_mean():
    """(12.3): on a grid, the decoder with the least mean squared error at each y, and how any other's error splits."""
    z, h, sigma = (
        torch.tensor([-1.0, 0.2, 2.0]).double(),
        torch.tensor([3.0, -1.0, 0.5]).double(),
        0.7,
    )
    y = torch.linspace(-6, 7, 20_001, dtype=torch.float64)
    joint = torch.exp(-((y[:, None] - z) ** 2) / (2 * sigma**2)) / (
        3 * sigma * math.sqrt(2 * math.pi)
    )
    step = float(y[1] - y[0])

    def error(decoder: Tensor) -> float:
        return float((joint * (decoder[:, None] - h) ** 2).sum() * step)

    mean = joint @ h / joint.sum(1)
    assert torch.allclose(mean, (-((y[:, None] - z) ** 2) / (2 * sigma**2)).softmax(1) @ h)
    for other in (
        torch.zeros_like(y),
        mean + 0.1 * torch.sin(y),
        h[(y[:, None] - z).abs().argmin(1)],
    ):
        apart = float((joint.sum(1) * (other - mean) ** 2).sum() * step)
        assert error(other) == pytest.approx(apart + error(mean), rel=1e-9) and apart > 0


def test_capacity_of_a_noisy_latent():
    """(12.6): equal for a Gaussian, by integrating the entropy of y; less for a fair coin of the same variance."""
    y = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    step = float(y[1] - y[0])

    def bits(density: Tensor) -> float:
        return float(-(density * density.clamp(min=1e-300).log2()).sum() * step)

    def normal(x: Tensor, variance: float) -> Tensor:
        return torch.exp(-(x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)

    for sigma in (0.5, 1.0, 3.0):
        capacity, noise = (
            0.5 * math.log2(1 + sigma**-2),
            0.5 * math.log2(2 * math.pi * math.e * sigma**2),
        )
        coin = (normal(y - 1, sigma**2) + normal(y + 1, sigma**2)) / 2
        assert bits(normal(y, 1 + sigma**2)) - noise == pytest.approx(capacity, rel=1e-6)
        assert 0 < bits(coin) - noise < min(capacity, 1)
    assert 768 * 0.5 * math.log2(1 + 1 / 9) == pytest.approx(58, abs=0.5)


@pytest.mark.parametrize("schedule", [Tangent(3.0), Tangent(1.0), Linear()])
def test_noise_and_velocity_follow_from_a_data_prediction(schedule):
    """(12.9): with the true z_1 they are the true noise and, by finite differences along the path, the true velocity."""
    z1, z0 = randn(2, 6, 3)
    t, tiny = torch.linspace(0.1, 0.9, 6, dtype=torch.float64), 1e-6
    zt = interpolate(schedule, z1, z0, t)
    slope = (interpolate(schedule, z1, z0, t + tiny) - interpolate(schedule, z1, z0, t - tiny)) / (
        2 * tiny
    )
    assert torch.allclose(noise_from_denoised(schedule, zt, z1, t), z0)
    assert torch.allclose(velocity_from_denoised(schedule, zt, z1, t), slope, atol=1e-7)
    denoised, s = randn(6, 3, seed=1), expand(t, z1)
    noise = (zt - schedule.a(s) * denoised) / schedule.b(s)
    assert torch.allclose(
        velocity_from_denoised(schedule, zt, denoised, t),
        schedule.da(s) * denoised + schedule.db(s) * noise,
    )


def best_power(kappa: float, sigma: float, gradient_scale: float, rho: float) -> float:
    root, g = sigma * math.sqrt(kappa), math.sqrt(gradient_scale)
    return max(0.0, (root - g * sigma**2) / (g - rho * root))


def test_best_power_and_which_channels_open():
    """(12.14) and (12.15): against a fine grid of powers; a channel is open just if kappa > gamma sigma^2."""
    q = torch.linspace(0, 8, 800_001, dtype=torch.float64)
    opened = set()
    for kappa, sigma, gradient_scale, rho in 0.05 + torch.rand(
        60, 4, generator=rng(), dtype=torch.float64
    ):
        if gradient_scale.sqrt() <= 1.5 * rho * sigma * kappa.sqrt():
            continue
        loss = kappa * sigma**2 / (q + sigma**2) + gradient_scale * q / (1 + rho * q)
        found, wanted = (
            float(q[loss.argmin()]),
            best_power(*map(float, (kappa, sigma, gradient_scale, rho))),
        )
        if wanted < 7.9:
            assert found == pytest.approx(wanted, abs=2e-5)
            assert (found > 2e-5) == bool(kappa > gradient_scale * sigma**2)
            opened.add(found > 2e-5)
    assert opened == {True, False}


def test_gradients_are_routed():
    """(12.19): one linear layer for each part, so that the gradients of the plain losses can be written by hand."""
    weights = {
        part: randn(3, 3, seed=i).requires_grad_()
        for i, part in enumerate(("encoder", "denoiser", "decoder", "tokens"))
    }
    h, xi, z0 = randn(3, 10, 3, seed=9)
    w = torch.randint(3, (10,), generator=rng())

    def terms(scale: float) -> dict[str, Tensor]:
        z1 = h @ weights["encoder"]
        h_hat = (z1 + 0.5 * xi) @ weights["decoder"]
        target = z1.detach() + scale * (z1 - z1.detach())
        return {
            "diffusion": ((0.6 * target + 0.8 * z0) @ weights["denoiser"] - target).square().mean(),
            "hidden": (h_hat - h).square().mean(),
            "words": torch.nn.functional.cross_entropy(h_hat.detach() @ weights["tokens"], w),
        }

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        return {
            part: torch.zeros(3, 3).double() if g is None else g for part, g in zip(weights, found)
        }

    plain = {name: gradients(terms(1.0)[name]) for name in ("diffusion", "hidden", "words")}
    for step in (0, 40, 70, 100):
        scale = gamma(step, 100)
        got = gradients(sum(terms(scale).values()))
        assert torch.allclose(
            got["encoder"], scale * plain["diffusion"]["encoder"] + plain["hidden"]["encoder"]
        )
        assert torch.allclose(got["denoiser"], plain["diffusion"]["denoiser"])
        assert torch.allclose(got["decoder"], plain["hidden"]["decoder"])
        assert torch.allclose(got["tokens"], plain["words"]["tokens"])


@pytest.mark.parametrize("d", [1.0, 3.0, 9.0])
def test_loss_is_affine_in_warped_time(d):
    """(12.21): for the loss b^2 of Gaussian latents, whose time distribution is a^2."""
    path, sampler = Tangent(d), AdaptiveTime(bins=400, floor=0.0)
    sampler.loss = path.b((torch.arange(400, dtype=torch.float64) + 0.5) / 400) ** 2
    sampler.weight = torch.ones(400, dtype=torch.float64)
    sampler.cdf = sampler.distribution()
    v = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert torch.allclose(path.b(sampler.warp(v).double()) ** 2, 1 - v, atol=0.01)
    assert torch.allclose(
        sampler.cdf, path.a(torch.linspace(0, 1, 401, dtype=torch.float64)) ** 2, atol=0.01
    )


def test_the_linear_model_says_that_the_small_recipe_collapses_without_norm():
    """(12.12) and (12.15) at the values of the ablation: the only minimum is at q = 0, for uniform and for adapted times."""
    study = results("ch12_recipe")
    made, counted = study["recipes"]["no norm"], study["model"]["hidden"] / study["model"]["latent"]
    gradient_scale, noise = made["encoder_gradient_scale"] * counted, made["decoder_noise"] ** 2
    v, q = (
        (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000,
        torch.linspace(0, 4, 2001, dtype=torch.float64),
    )
    path = Tangent(study["model"]["tangent"])
    assert gradient_scale * noise > 1
    for rho in ((path.a(v) / path.b(v)) ** 2, v / (1 - v)):
        loss = noise / (q + noise) + gradient_scale * (q[:, None] / (1 + rho * q[:, None])).mean(1)
        assert (loss.diff() > 0).all()
    trained = [run["latent_std"] for run in study["rows"] if run["variant"] == "no norm"]
    assert len(trained) == 3 and min(trained) > 0.5  # what the runs did instead


def test_the_port_is_a_third_partys():
    """Where the chapter first speaks of a port, it says whose it is; the paper has none that we know."""
    text = next(prose(load(path)) for path in CHAPTERS if path.name.startswith("12"))
    first = re.search(r"[^.;]*\bport\b[^.;]*", text)[0]
    assert "third-party port" in first and "paper's port" not in text
