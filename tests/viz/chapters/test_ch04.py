"""The explorer of chapter 04: what each knob does to the arrays, and that each changes the picture."""

import numpy as np
import pytest
import torch

from minildm import UserError
from minildm.viz.chapters import ch04
from minildm.viz.chapters.ch04 import DRAWS, LINE, PLACES, TARGET, bridges, coupled, marginal
from minildm.viz.core.knobs import pixels
from minildm.viz.core.line import STANDARD


@pytest.mark.parametrize("coupling", ["schroedinger", "independent"])
@pytest.mark.parametrize("noise", [0.2, 1.0, 5.0])
def test_both_ends_have_the_distributions_that_were_asked_for(noise, coupling):
    plan = coupled(noise, coupling)
    for end, side in ((STANDARD, plan.sum(1)), (TARGET, plan.sum(0))):
        assert (side - end.log_density(PLACES).softmax(0)).abs().sum() < 1e-5
    for t, end in ((0.0, STANDARD), (1.0, TARGET)):
        assert torch.allclose(
            marginal(plan, noise, t), end.log_density(LINE[:, None]).exp(), atol=0.02
        )


@pytest.mark.parametrize("coupling", ch04.COUPLINGS)
@pytest.mark.parametrize("time", [0.25, 1.0])
def test_the_histogram_is_that_of_the_density(coupling, time):
    shown = bridges(1.0, coupling, time, seed=0)
    weights = shown.density / shown.density.sum()
    for power in (1, 2):
        exact, draws = float((weights * LINE**power).sum()), shown.cloud**power
        assert abs(float(draws.mean()) - exact) < 3 * float(draws.std()) / DRAWS**0.5 + 1e-3


def test_more_noise_forgets_the_start():
    """The fraction of paths that start above zero and end below: none for the sorted coupling, half for the independent one."""

    def crossing(plan):
        return float(
            plan[PLACES[:, 0] > 0][:, PLACES[:, 0] < 0].sum() / plan[PLACES[:, 0] > 0].sum()
        )

    fractions = [crossing(coupled(noise, "schroedinger")) for noise in ch04.NOISES]
    assert fractions == sorted(fractions) and fractions[0] < 0.05 and fractions[-1] > 0.4
    assert crossing(coupled(0.2, "independent")) == pytest.approx(0.5)


def test_every_knob_changes_the_picture():
    explorer = ch04.explorer()
    first = pixels(explorer.figure(), 40)
    for name, values in explorer.knobs.items():
        assert not np.array_equal(first, pixels(explorer.figure(**{name: values[1]}), 40)), name
    with pytest.raises(UserError):
        explorer.figure(coupling="none")
