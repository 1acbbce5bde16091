"""The explorer of chapter 05: an exact balance, particles with the right density, and knobs that change the picture."""

import numpy as np
import pytest
import torch

from minildm import UserError
from minildm.transport.mass import fokker_planck_residual
from minildm.transport.mixtures import marginal, mixture_velocity
from minildm.transport.schedules import Linear
from minildm.viz.chapters import ch05
from minildm.viz.chapters.ch05 import DATA, LINE, PARTICLES, balance, density, particles
from minildm.viz.core.knobs import pixels
from minildm.viz.core.line import cdf

datas = pytest.mark.parametrize("data", DATA)


@datas
@pytest.mark.parametrize("g", [0.0, 1.0, 2.0])
def test_the_balance_is_the_residual_of_the_package(data, g):
    """Times the density; it is zero with the score in the drift, and not without."""
    mixture, t = DATA[data], torch.tensor(0.7).double()
    assert balance(mixture, t, g, True).residual.abs().max() < 1e-9

    def log_density(z, t):
        return marginal(Linear(), mixture, t).log_density(z)

    velocity = mixture_velocity(Linear(), mixture)
    left = fokker_planck_residual(log_density, velocity, LINE[:, None], t, g)
    residual = balance(mixture, t, g, False).residual
    assert torch.allclose(residual, density(mixture, LINE, t) * left, atol=1e-9)
    assert (residual.abs().max() > 0.05) == (g > 0)


@datas
@pytest.mark.parametrize("noise", ch05.NOISES)
def test_particles_have_the_exact_density(noise, data):
    """The largest gap of distribution functions is no larger than that of a fair sample at 1%, plus the solver's error."""
    path = particles(data, noise, True)
    fair = (torch.arange(PARTICLES) + 0.5) / PARTICLES
    for k in (56, 98, 140):
        exact = cdf(
            marginal(Linear(), DATA[data], path.times[k]), path.states[k, :, 0].sort().values
        )
        assert (exact - fair).abs().max() < 1.63 / PARTICLES**0.5 + 0.01


def test_noise_without_the_score_spreads_the_particles():
    with_score, without = (
        particles("narrow modes", 1.5, with_score).states[-1].abs().std()
        for with_score in (True, False)
    )
    assert with_score < 0.3 < 0.8 < without


def test_every_knob_changes_the_picture():
    explorer = ch05.explorer()
    first = pixels(explorer.figure(), 40)
    for name, values in explorer.knobs.items():
        for value in values[1:]:
            changed = pixels(explorer.figure(**{name: value}), 40)
            assert not np.array_equal(first, changed), (name, value)
    with pytest.raises(UserError):
        explorer.figure(data="four modes")
