"""The explorer of chapter 06: its couplings, fields and energies against draws and the package, and that each knob shows."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from minildm.transport.energies import energies
from minildm.transport.mixtures import marginal, mixture_velocity
from minildm.transport.schedules import Linear
from minildm.viz.chapters import ch06
from minildm.viz.chapters.ch06 import (
    CELLS,
    DATA,
    LINE,
    SHOWN,
    TIMES,
    copula,
    flow_of,
    matched,
    quantiles,
)
from minildm.viz.core.knobs import pixels
from minildm.viz.core.line import cdf, middles


@pytest.mark.parametrize("batch", ch06.BATCHES)
def test_a_copula_has_even_ranks_on_both_sides(batch):
    c = copula(batch, middles(CELLS), middles(CELLS))
    assert (c >= 0).all() and torch.allclose(c, c.T)
    assert torch.allclose(c.mean(1), torch.ones(len(c)).double(), atol=2e-3)
    if batch == 1:
        assert torch.equal(c, torch.ones_like(c))


@pytest.mark.parametrize("batch", [2, 8])
def test_a_copula_is_that_of_sorted_batches(batch):
    p, q = (
        torch.rand(2, 200_000 // batch, batch, generator=torch.Generator().manual_seed(0))
        .sort(dim=-1)
        .values
    )
    ranks = middles(CELLS)
    c = copula(batch, ranks, ranks)
    for f in (lambda p, q: p * q, lambda p, q: (p - q) ** 2, lambda p, q: (p < 0.3) * (q > 0.6)):
        exact = float((c * f(ranks[:, None], ranks)).mean())
        assert float(f(p, q).double().mean()) == pytest.approx(exact, abs=4e-3)


@pytest.mark.parametrize("data", DATA)
def test_ranks_and_points_undo_each_other(data):
    ranks = middles(99)
    assert torch.allclose(cdf(DATA[data], quantiles(DATA[data], ranks)), ranks, atol=1e-4)


@pytest.mark.parametrize("data", DATA)
def test_independent_pairs_have_the_density_field_and_energies_of_the_package(data):
    mixture = DATA[data]
    made = flow_of(data, 1)
    schedule = Linear()
    for k in (0, 8, 20, 32, 40):
        density = marginal(schedule, mixture, TIMES[k]).log_density(LINE[:, None]).exp()
        assert torch.allclose(made.density[k], density, atol=1e-8)
        if k < 40:
            seen = density > 1e-4
            assert torch.allclose(
                made.field[k][seen],
                mixture_velocity(schedule, mixture)(LINE[:, None], TIMES[k])[seen, 0],
                atol=1e-4,
            )
    exact = energies(mixture)
    assert made.energies == pytest.approx(
        (exact.conditional, exact.marginal, exact.optimal), abs=0.005
    )


@pytest.mark.parametrize("data", DATA)
def test_larger_batches_close_both_gaps(data):
    found = [flow_of(data, batch).energies for batch in ch06.BATCHES]
    assert all(pairs > flow > best - 1e-9 for pairs, flow, best in found)
    for earlier, later in pairwise(found):
        assert later[0] < earlier[0] and later[1] < earlier[1]
    assert found[-1][1] - found[-1][2] < 0.05


@pytest.mark.parametrize("reflow", ch06.REFLOWS)
@pytest.mark.parametrize("batch", [1, 8])
def test_straight_paths_have_the_density_of_the_flow(batch, reflow):
    shown = matched(batch, reflow, 0.5, "two wide modes")
    draws, weights = shown.pairs.mean(0), shown.density / shown.density.sum()
    for power in (1, 2, 4):
        exact = float(weights @ LINE**power)
        assert (
            abs(float((draws**power).mean()) - exact)
            < 4 * float((draws**power).std()) / len(draws) ** 0.5 + 1e-3
        )


def test_pairs_cross_and_flows_do_not():
    crossings = [matched(batch, "none", 0.5, "two narrow modes").crossings for batch in (1, 8, 64)]
    assert [flow for _, flow in crossings] == [0, 0, 0]
    assert crossings[0][0] > 2 * crossings[1][0] > 0
    once = matched(1, "once", 0.5, "two narrow modes")
    assert once.crossings == (0, 0) and torch.allclose(
        once.flow[20], (once.flow[0] + once.flow[-1]) / 2
    )
    assert once.pairs.shape[1] > SHOWN and once.energies[0] == once.energies[2]


def test_every_knob_changes_the_picture():
    explorer = ch06.explorer()
    first = pixels(explorer.figure(), 40)
    for name, values in explorer.knobs.items():
        for value in values[1:]:
            assert not np.array_equal(first, pixels(explorer.figure(**{name: value}), 40)), (
                name,
                value,
            )
