"""Adjoint profiles: matrix exponentials for linear systems, exact zeros for hard words, positive for latents."""

from dataclasses import replace

import pytest
import torch
from torch.func import jacrev

from minildm.sampling.relaxed import hard, relaxed, soft, straight_through
from minildm.studies.ch09_adjoint_profiles import profile, terminal_cost
from tests.models.small import ldlm, rng
from tests.studies.small import gpt, masked
from tests.studies.test_ch09_singularity import linear_chain

ALL = terminal_cost(torch.tensor([5, 9, 17, 7, 6, 8, 11]), torch.arange(1, 8))


def test_a_linear_systems_profile_is_its_matrix_exponential():
    """p_t = exp(A'(1 - t)) p_1, so |p_t| / |p_1| = |exp(A'(1 - t)) c| / |c| for the terminal cost Phi = c . z_1."""
    matrix = torch.randn(3, 3, generator=rng(), dtype=torch.float64)
    times = torch.tensor([0.0, 0.2, 0.7, 1.0], dtype=torch.float64)
    exact = replace(
        linear_chain(matrix, times),
        step=lambda f, z, t, s, rng=None: z @ torch.matrix_exp(matrix * (s - t)).T,
    )
    c = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    found = profile(exact, exact.run(), lambda scores: (scores * c).sum((1, 2)))
    wanted = torch.stack([torch.matrix_exp(matrix.T * (1 - t)) @ c for t in times])
    assert torch.allclose(found.costates[:, 0, 0], wanted)
    assert torch.allclose(found.total[:, 0], wanted.norm(dim=1) / c.norm()) and torch.equal(
        found.total, found.through
    )


@pytest.mark.parametrize("model", [gpt(), masked()], ids=["gpt", "masked"])
def test_hard_words_feel_nothing_through_their_choices(model):
    """Exactly 0 at every time; what is felt in all is the fraction of the wanted words that stand already, which are copied."""
    chain = relaxed(model, 3, 5, rng(1), hard)
    found = profile(chain, chain.run(), ALL)
    assert (
        (found.through == 0).all() and (found.total[0] == 0).all() and (found.total[-1] == 1).all()
    )
    written = torch.stack([chain.kept(k)[:, 1:, 0].mean(1) for k in range(len(chain.times))])
    assert torch.allclose(found.total, written.sqrt())


def test_why_the_jacobian_of_a_hard_step_copies_or_forgets():
    chain = relaxed(masked(vocab_size=6, seq_len=4), 1, 3, rng(2))
    z = chain.run().states[1]
    J = jacrev(lambda z: chain.step(chain.field, z, *chain.times[1:3], None))(z).reshape(24, 24)
    arrives = (chain.times[1] <= chain.arrival) & (chain.arrival < chain.times[2])
    assert arrives.any() and torch.equal(J, torch.diag((~arrives)[0].repeat_interleave(6).float()))


@pytest.mark.parametrize(
    "choice", [soft(1.0), straight_through(1.0)], ids=["soft", "straight-through"]
)
@pytest.mark.parametrize("model", [gpt(), masked()], ids=["gpt", "masked"])
def test_relaxed_words_feel_their_choices(model, choice):
    chain = relaxed(model, 2, 5, rng(1), choice)
    found = profile(chain, chain.run(), ALL)
    to_come = chain.times[:, None] <= chain.arrival.amax(
        1
    )  # while a wanted word is still to be chosen
    assert (found.through[to_come] > 0).all() and (found.through[-1] == 0).all()


def test_soft_costates_are_slopes_of_the_whole_sampler():
    model = masked().double()
    chain = relaxed(model, 1, 3, rng(1), soft(1.0))
    chain = replace(chain, start=chain.start.double(), times=chain.times.double())
    costates = profile(chain, chain.run(), ALL).costates

    def end(z):
        for t, s in zip(chain.times, chain.times[1:]):
            z = chain.step(chain.field, z, t, s, None)
        return ALL(z).item()

    perturbation = 1e-6 * torch.randn(chain.start.shape, generator=rng(5), dtype=torch.float64)
    slope = (end(chain.start + perturbation) - end(chain.start - perturbation)) / 2
    assert (
        slope == pytest.approx((costates[0] * perturbation).sum().item(), rel=1e-4) and slope != 0
    )


def test_latents_feel_a_terminal_cost_at_every_time():
    model = ldlm().eval()
    chain = relaxed(model, 3, 6, rng(1))
    found = profile(chain, chain.run(), ALL)
    assert (
        (found.total > 0).all()
        and torch.equal(found.total, found.through)
        and (found.total[-1] == 1).all()
    )


def test_latent_costates_are_slopes_of_the_whole_sampler():
    model = ldlm().eval()
    chain = relaxed(model, 1, 4, rng(1))
    found = profile(chain, chain.run(), ALL)
    along = found.costates[0] / found.costates[0].norm()
    perturbation = 0.02 * torch.cat((along, torch.zeros_like(along)), dim=-1)
    up, down = (
        ALL(chain.scores(replace(chain, start=chain.start + x).run().states[-1])).item()
        for x in (perturbation, -perturbation)
    )
    assert (up - down) / 0.04 == pytest.approx(found.costates[0].norm().item(), rel=0.02)
