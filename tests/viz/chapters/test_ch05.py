"""The explorer of chapter 05: the package's law and fields, an exact balance, and knobs that change the picture."""

import numpy as np
import pytest
import torch

from minildm import UserError
from minildm.transport.mass import fokker_planck_residual, noisy_drift
from minildm.transport.mixtures import marginal, mixture_score, mixture_velocity
from minildm.transport.schedules import Linear
from minildm.viz.chapters import ch05
from minildm.viz.chapters.ch05 import (
    LINE,
    PARTICLES,
    balance,
    flow_and_score,
    law_of,
    moved,
    particles,
)
from minildm.viz.core.knobs import pixels

laws = pytest.mark.parametrize("law", ch05.LAWS)
TIMES = torch.tensor([0.0, 0.3, 0.8, 1.0]).double()


@laws
def test_law_and_fields_are_those_of_the_package(law):
    data = law_of(law)
    for t in TIMES:
        assert torch.allclose(
            moved(data, t).log_density(LINE[:, None]),
            marginal(Linear(), data, t).log_density(LINE[:, None]),
        )
        u, score = flow_and_score(data, LINE, t)
        assert torch.allclose(score, mixture_score(Linear(), data)(LINE[:, None], t)[:, 0])
        if t < 1:
            assert torch.allclose(u, mixture_velocity(Linear(), data)(LINE[:, None], t)[:, 0])


@laws
@pytest.mark.parametrize("g", [0.0, 1.0, 2.0])
def test_the_balance_is_the_residual_of_the_package(law, g):
    """Times the density; it is zero with the score in the drift, and not without."""
    data, t = law_of(law), torch.tensor(0.7).double()
    u, score = mixture_velocity(Linear(), data), mixture_score(Linear(), data)
    assert balance(data, t, g, True).residual.abs().max() < 1e-9
    left = fokker_planck_residual(
        lambda z, t: moved(data, t).log_density(z), noisy_drift(u, score, 0.0), LINE[:, None], t, g
    )
    density = moved(data, t).log_density(LINE[:, None]).exp()
    assert torch.allclose(balance(data, t, g, False).residual, density * left, atol=1e-9)
    assert (balance(data, t, g, False).residual.abs().max() > 0.05) == (g > 0)


@laws
@pytest.mark.parametrize("noise", ch05.NOISES)
def test_particles_keep_to_the_law(noise, law):
    """The largest gap of distribution functions is no larger than that of a fair sample at 1%, plus the solver's error."""
    path = particles(law, noise, True)
    for k in (56, 98, 140):
        now, draws = moved(law_of(law), path.times[k]), path.states[k].sort().values
        places = (draws[:, None] - now.means[:, 0]) / now.variances.sqrt()
        exact = torch.special.ndtr(places) @ now.log_weights.exp()
        assert (
            exact - (torch.arange(PARTICLES) + 0.5) / PARTICLES
        ).abs().max() < 1.63 / PARTICLES**0.5 + 0.01


def test_noise_without_the_score_spreads_the_particles():
    spread = [
        particles("narrow modes", 1.5, gathered).states[-1].abs().std()
        for gathered in (True, False)
    ]
    assert spread[0] < 0.3 < 0.8 < spread[1]


def test_every_knob_changes_the_picture():
    explorer = ch05.explorer()
    first = pixels(explorer.figure(), 40)
    for name, values in explorer.knobs.items():
        for value in values[1:]:
            assert not np.array_equal(first, pixels(explorer.figure(**{name: value}), 40)), (
                name,
                value,
            )
    with pytest.raises(UserError):
        explorer.figure(law="four modes")
