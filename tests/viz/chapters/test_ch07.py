"""The explorer of chapter 07: its schedules and losses are those of transport, and each knob changes the picture."""

import math

import numpy as np
import pytest
import torch

from minildm import UserError
from minildm.transport.heads import loss_weight
from minildm.transport.mixtures import denoising_error
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Cosine, Linear, Tangent
from minildm.transport.time_sampling import AdaptiveTime
from minildm.viz.chapters import ch07
from minildm.viz.chapters.ch07 import (
    EDGES,
    HEADS,
    LOG_SNR,
    NOISIER,
    SCHEDULES,
    TIMES,
    coefficients,
    time_change,
)
from minildm.viz.core.knobs import pixels


def distribution(loss):
    sampler = AdaptiveTime(bins=len(loss), floor=0.01)
    sampler.loss, sampler.weight = loss, torch.ones_like(loss)
    return sampler.distribution()


@pytest.fixture(scope="module")
def errors():
    return {
        std: denoising_error(Cosine(), two_modes(std), Cosine().from_log_snr(LOG_SNR))
        for std in (0.3, 1.0)
    }


@pytest.mark.parametrize("d", NOISIER)
def test_the_tangent_schedule_is_that_of_transport(d):
    a, b, log_snr, slope = coefficients("tangent", d, TIMES)
    path = Tangent(d)
    for found, wanted in (
        (a, path.a),
        (b, path.b),
        (log_snr, path.log_snr),
        (slope, path.log_snr_slope),
    ):
        assert torch.allclose(found, wanted(TIMES), rtol=1e-9)


def test_the_straight_schedule_is_that_of_transport_and_d_shifts_it():
    for found, wanted in zip(
        coefficients("straight", 1.0, TIMES), (Linear().a, Linear().b, Linear().log_snr)
    ):
        assert torch.allclose(found, wanted(TIMES), rtol=1e-9)
    a, b, log_snr, _ = coefficients("straight", 3.0, TIMES)
    assert torch.allclose(a, TIMES / (TIMES + 3 * (1 - TIMES))) and torch.allclose(
        a + b, torch.ones_like(a)
    )
    assert torch.allclose(log_snr, Linear().log_snr(TIMES) - 2 * math.log(3))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_coefficients_and_slope_agree(schedule):
    t = TIMES.clone().requires_grad_()
    a, b, log_snr, slope = coefficients(schedule, 2.0, t)
    assert torch.allclose(2 * (a / b).log(), log_snr, rtol=1e-9)
    assert torch.allclose(torch.autograd.grad(log_snr.sum(), t)[0], slope, rtol=1e-9)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("name", "path"), [("tangent", Tangent(3.0)), ("straight", Linear())])
def test_the_loss_is_the_weighted_error_of_the_exact_denoiser(errors, name, path, head):
    wanted = loss_weight(path, TIMES, head) * denoising_error(path, two_modes(0.3), TIMES)
    shown = time_change(name, 3.0 if name == "tangent" else 1.0, head, errors[0.3], distribution)
    assert torch.allclose(shown.loss, wanted, rtol=2e-3)


def test_the_warped_grid_meets_the_same_log_snr_in_every_schedule(errors):
    """What a data prediction finds hard is a matter of log-SNR: the schedules disagree about time, their grids do not."""
    inner = []
    for schedule, d in (("tangent", 3.0), ("tangent", 1.0), ("straight", 1.0)):
        shown = time_change(schedule, d, "denoised", errors[1.0], distribution)
        assert shown.grid[0] == 0 and shown.grid[-1] == 1 and (shown.grid.diff() > 0).all()
        inner.append(np.interp(shown.grid[1:-1], TIMES, shown.log_snr))
        fit = np.corrcoef(shown.warped, shown.loss)[0, 1] ** 2
        assert fit > 0.995
    assert np.abs(np.ptp(inner, axis=0)).max() < 0.35
    assert len(EDGES) == len(shown.cdf) == len(TIMES) + 1


def test_every_knob_changes_the_picture(errors):
    explorer = ch07.explorer(errors, distribution)
    first = pixels(explorer.figure(), 40)
    for name, values in explorer.knobs.items():
        assert not np.array_equal(first, pixels(explorer.figure(**{name: values[1]}), 40)), name
    assert not np.array_equal(
        pixels(explorer.figure(schedule="straight"), 40),
        pixels(explorer.figure(schedule="straight", d=9.0), 40),
    )
    with pytest.raises(UserError):
        explorer.figure(head="drift")
