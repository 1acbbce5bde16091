"""Comparisons for `test_inline` of what chapter 13 writes itself with codebooks, noise levels and steps of minildm.transport."""

import torch

from minildm.transport.codebook import Codebook
from minildm.transport.diffusion import straight_step
from minildm.transport.noise_levels import noise_levels

from .inline import inline, normal, uniform


def some_book(rng: torch.Generator) -> Codebook:
    """Six words of three channels."""
    return Codebook(normal(rng, 6, 3), 0.05 + normal(rng, 3) ** 2)


@inline("13", "evidence_by_hand")
def what_a_latent_says(by_hand, rng):
    book, z, t = some_book(rng), normal(rng, 5, 3), uniform(rng, 0, 1)
    return by_hand(z, t, book.means, book.variances), book.evidence(
        z, torch.full((5,), t, dtype=torch.float64)
    )


@inline("13", "endpoint_by_hand")
def where_a_latent_should_end(by_hand, rng):
    book, z, t, p = (
        some_book(rng),
        normal(rng, 5, 3),
        uniform(rng, 0, 1),
        normal(rng, 5, 6).softmax(-1),
    )
    return by_hand(p, z, t, book.means, book.variances), book.endpoint(
        p, z, torch.full((5,), t, dtype=torch.float64)
    )


@inline("13", "own_times")
def times_of_positions(own_times, rng):
    t, offset = torch.rand(4, generator=rng).double(), 6 * torch.rand(4, generator=rng).double()
    moving = torch.rand(4, 9, generator=rng) < 0.7
    return own_times(t, offset, moving), noise_levels(t, offset, moving)


@inline("13", "renewed")
def noise_renewed(renewed, rng):
    z, end, eta = *normal(rng, 2, 5, 3), uniform(rng, 0.1, 1)
    t, s = (0.01 + 0.98 * torch.rand(2, generator=rng, dtype=torch.float64)).sort().values
    xi = torch.randn(5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    step = straight_step(eta)(
        lambda z, t: (end - z) / (1 - t), z, t, s, torch.Generator().manual_seed(3)
    )
    return renewed(z, end, t, s, eta, xi), step
