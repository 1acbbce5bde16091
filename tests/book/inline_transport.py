"""Comparisons for `test_inline` of what chapters 05 to 08 write themselves with minildm.transport."""

import torch

from minildm.control.bridges import Mixture
from minildm.transport import (
    distances,
    energies,
    heads,
    likelihood,
    mass,
    mixtures,
    paths,
    planar,
    time_sampling,
)
from minildm.transport.diffusion import ClosedLoop, ddim
from minildm.transport.schedules import Linear, Tangent

from .inline import inline, normal, uniform


def some_mixture(rng: torch.Generator) -> Mixture:
    """Three Gaussians in the plane."""
    return Mixture(normal(rng, 3).log_softmax(0), normal(rng, 3, 2), 0.1 + normal(rng, 3) ** 2)


@inline("05", "responsibilities")
def weights_of_modes(by_hand, rng):
    mixture, z, t = (
        some_mixture(rng),
        normal(rng, 6, 2),
        torch.tensor(uniform(rng, 0, 0.9)).double(),
    )
    return by_hand(mixture, z, t), mixtures.responsibilities(Linear(), mixture, z, t)


@inline("05", "flow_of_mixture")
def flow_to_a_mixture(flow, rng):
    mixture, z, t = (
        some_mixture(rng),
        normal(rng, 6, 2),
        torch.tensor(uniform(rng, 0, 0.9)).double(),
    )
    return flow(mixture, z, t), mixtures.mixture_velocity(Linear(), mixture)(z, t)


@inline("05", "score_of_mixture")
def score_of_a_mixture(score, rng):
    mixture, z, t = (
        some_mixture(rng),
        normal(rng, 6, 2),
        torch.tensor(uniform(rng, 0, 0.9)).double(),
    )
    return score(mixture, z, t), mixtures.mixture_score(Linear(), mixture)(z, t)


@inline("05", "left_over")
def residual_of_a_density(left_over, rng):
    z, t, g = normal(rng, 6), torch.tensor(uniform(rng, 0, 0.9)).double(), uniform(rng, 0, 2)

    def log_p(z, t):
        return -(z**2) * (1 + t) + torch.sin(z)

    def drift(z, t):
        return torch.cos(z) * t

    residual = mass.fokker_planck_residual(lambda z, t: log_p(z[:, 0], t), drift, z[:, None], t, g)
    return left_over(log_p, drift, z, t, g), residual


@inline("05", "largest_gap", close=1e-4)  # in float32
def two_samples(largest_gap, rng):
    x, y = torch.randn(40, generator=rng), 1.3 * torch.randn(70, generator=rng)
    return largest_gap(x, y), distances.kolmogorov_smirnov(x, y)


@inline("05", "nats", close=1e-5)  # in float32
def likelihood_of_a_flow(nats, rng):
    mixture, times = some_mixture(rng), torch.linspace(0, 1, 21)
    field, z1 = mixtures.mixture_velocity(Linear(), mixture), mixture.sample(5, rng).float()
    return nats(field, z1, times), likelihood.log_likelihood(field, z1, times, "midpoint")


@inline("06", "conditional_pair")
def straight_paths(conditional_pair, rng):
    z0, z1, t = *normal(rng, 2, 6, 2), torch.rand(6, generator=rng, dtype=torch.float64)
    sample = paths.sample_path(Linear(), z1, z0, t)
    return conditional_pair(z0, z1, t[:, None]), (sample.zt, sample.velocity)


@inline("06", "mean_control")
def mean_of_pinned_controls(mean_control, rng):
    mixture, z, t = (
        planar.two_modes(std := uniform(rng, 0.1, 2)),
        normal(rng, 7, 1),
        uniform(rng, 0, 0.95),
    )
    field = mixtures.mixture_velocity(Linear(), mixture)
    return mean_control(z, t, mixture.means[:, 0], std), field(
        z, torch.tensor(t, dtype=torch.float64)
    )


@inline("06", "three_energies", close=0.01)  # by sums over coarse cells
def energies_of_two_modes(three_energies, rng):
    mixture = planar.two_modes(std := uniform(rng, 0.1, 1.5))
    found = energies.energies(mixture)
    return three_energies(mixture, std), (found.conditional, found.marginal, found.optimal)


@inline("06", "acceleration_by_hand")
def acceleration_of_a_flow(acceleration_by_hand, rng):
    field, z = mixtures.mixture_velocity(Linear(), planar.two_modes(1.0)), normal(rng, 5, 1)
    t = torch.tensor(uniform(rng, 0, 0.9), dtype=torch.float64)
    return acceleration_by_hand(field, z, t), energies.acceleration(field, z, t)


@inline("07", "tan_d")
def tangent_schedule(tan_d, rng):
    t, kind = torch.rand(9, generator=rng, dtype=torch.float64), Tangent(uniform(rng, 0.5, 9))
    return tan_d(t, kind.d), (kind.a(t), kind.b(t), kind.da(t), kind.db(t), kind.log_snr(t))


@inline("07", "pair_of")
def data_and_noise(pair_of, rng):
    z, value, kind, t = (
        *normal(rng, 2, 6, 2),
        Tangent(3.0),
        0.1 + 0.8 * torch.rand(6, generator=rng, dtype=torch.float64),
    )
    head, s = heads.HEADS[int(uniform(rng, 0, 4))], t[:, None]
    ours = pair_of(kind.a(s), kind.b(s), kind.da(s), kind.db(s), z, value, head)
    return ours, heads.pair(kind, z, value, t, head)


@inline("07", "carry_over")
def another_schedule(carry_over, rng):
    z, t = normal(rng, 6, 2), 0.1 + 0.8 * torch.rand(6, generator=rng, dtype=torch.float64)
    return carry_over(z, t, Tangent(3.0), Linear()), paths.change_schedule(
        z, t, Tangent(3.0), Linear()
    )


@inline("07", "pool")
def closest_falling_row(pool, rng):
    y, weight = normal(rng, 30), 0.1 + torch.rand(30, generator=rng, dtype=torch.float64)
    ours = torch.tensor(pool(y.tolist(), weight.tolist()), dtype=torch.float64)
    return ours, time_sampling.isotonic_decreasing(y.numpy(), weight.numpy())


@inline("08", "ddim_step")
def data_and_noise_at_the_next_time(ddim_step, rng):
    z, denoised, path, t = (
        *normal(rng, 2, 5, 2),
        Tangent(uniform(rng, 1, 4)),
        torch.tensor(uniform(rng, 0.1, 0.5)),
    )
    a, b, a_next, b_next = path.a(t), path.b(t), path.a(t + 0.3), path.b(t + 0.3)
    loop = ClosedLoop(lambda z, t, c: denoised, path, z)
    return ddim_step(z, denoised, a, b, a_next, b_next), ddim(loop, z, t, t + 0.3)
