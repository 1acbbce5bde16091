"""Answers to the exercises of chapter 06: wrong ones that its checks must refuse, right ones that they must accept."""

import torch

from minildm.checks import ch06
from minildm.transport.couplings import optimal

from .answers import Answers

answers = Answers(ch06)


def per_row(t, z):
    """Times (batch,) in a shape that multiplies rows."""
    return t.reshape(-1, *[1] * (z.dim() - 1)).to(z)


@answers.wrong(1)
def reads_the_velocity_off_the_state(z0, z1, t):
    zt = (1 - per_row(t, z0)) * z0 + per_row(t, z0) * z1
    return zt, (z1 - zt) / (1 - per_row(t, z0))


@answers.wrong(1)
def counts_time_from_the_data(z0, z1, t):
    return per_row(t, z0) * z0 + (1 - per_row(t, z0)) * z1, z1 - z0


@answers.wrong(1)
def points_to_the_noise(z0, z1, t):
    return torch.lerp(z0, z1, per_row(t, z0)), z0 - z1


@answers.wrong(1)
def takes_one_time_for_all(z0, z1, t):
    return torch.lerp(z0, z1, t.mean()), z1 - z0


@answers.right(1)
def pairs_in_single_precision(z0, z1, t):
    z0, z1 = z0.float(), z1.float()
    return [torch.lerp(z0, z1, per_row(t, z0)), z1 - z0]


@answers.right(1)
def row_by_row(z0, z1, t):
    return [((1 - s) * x + s * y).tolist() for x, y, s in zip(z0, z1, t)], (z1 - z0).numpy()


def with_logits(z, t, data, logits):
    """The field that goes to the mean of the data with a softmax of these logits as weights."""
    return (logits.softmax(1) @ data - z) / (1 - t)


def squares(z, t, data):
    return (z[:, None] - t * data).square().sum(-1)


@answers.wrong(2)
def densities_underflow(z, t, data):
    density = (-squares(z, t, data) / (2 * (1 - t) ** 2)).exp()
    return (density @ data / density.sum(1, keepdim=True) - z) / (1 - t)


@answers.wrong(2)
def shifts_densities_by_a_constant(z, t, data):
    logits = -squares(z, t, data) / (2 * (1 - t) ** 2)
    density = (logits - logits.max()).exp()
    return (density @ data / density.sum(1, keepdim=True) - z) / (1 - t)


@answers.wrong(2)
def goes_to_the_mean_of_the_data(z, t, data):
    return (data.mean(0) - z) / (1 - t)


@answers.wrong(2)
def goes_to_the_nearest_point(z, t, data):
    return (data[squares(z, t, data).argmin(1)] - z) / (1 - t)


@answers.wrong(2)
def forgets_to_square_the_width(z, t, data):
    return with_logits(z, t, data, -squares(z, t, data) / (2 * (1 - t)))


@answers.wrong(2)
def does_not_move_the_points(z, t, data):
    return with_logits(z, t, data, -squares(z, 1.0, data) / (2 * (1 - t) ** 2))


@answers.right(2)
def fields_in_single_precision(z, t, data):
    z, data = z.float(), data.float()
    return with_logits(z, t, data, -squares(z, t, data) / (2 * (1 - t) ** 2))


@answers.right(2)
def by_conditional_velocities(z, t, data):
    """The mean of the velocities to each point, with weights from inner products in place of distances."""
    logits = (z @ data.T * t - t**2 * data.square().sum(1) / 2) / (1 - t) ** 2
    return torch.einsum("bk,bkd->bd", logits.softmax(1), (data - z[:, None]) / (1 - t)).tolist()


@answers.wrong(3)
def sorts_the_noise(z0, z1):
    return z0.sort().values


@answers.wrong(3)
def takes_the_order_for_the_ranks(z0, z1):
    return z0.sort().values[z1.argsort()]


@answers.wrong(3)
def pairs_the_other_way_round(z0, z1):
    return z0.sort(descending=True).values[z1.argsort().argsort()]


@answers.right(3)
def by_ranks_in_single_precision(z0, z1):
    return z0.float().sort().values[z1.argsort().argsort()]


@answers.right(3)
def by_the_best_assignment(z0, z1):
    return optimal(z0[:, None], z1[:, None])[0][:, 0]


@answers.right(3)
def with_a_dictionary(z0, z1):
    partner = dict(zip(sorted(z1.tolist()), sorted(z0.tolist())))
    return [partner[y] for y in z1.tolist()]


def pieces(times, states):
    return states.diff(dim=0).square().sum(-1), times.diff()[:, None]


@answers.wrong(4)
def takes_even_times(times, states):
    moved, _ = pieces(times, states)
    energy = float(moved.mean(1).sum() * (len(times) - 1))
    return energy, energy - float((states[-1] - states[0]).square().sum(-1).mean())


@answers.wrong(4)
def adds_over_the_batch(times, states):
    moved, lasted = pieces(times, states)
    energy = float((moved / lasted).sum())
    return energy, energy - float((states[-1] - states[0]).square().sum())


@answers.wrong(4)
def measures_how_far_the_mean_moves(times, states):
    moved, lasted = pieces(times, states)
    energy = float((moved / lasted).sum(0).mean())
    return energy, energy - float((states[-1] - states[0]).mean(0).square().sum())


@answers.wrong(4)
def adds_squared_lengths(times, states):
    moved, _ = pieces(times, states)
    return float(moved.sum(0).mean()), float(
        moved.sum(0).mean() - (states[-1] - states[0]).square().sum(-1).mean()
    )


@answers.right(4)
def by_deviations_from_the_chord(times, states):
    lasted = times.diff()[:, None, None]
    speed, chord = states.diff(dim=0) / lasted, states[-1] - states[0]
    return [(x.square() * lasted).sum((0, 2)).mean() for x in (speed, speed - chord)]


@answers.right(4)
def energies_in_single_precision(times, states):
    moved, lasted = pieces(times.float(), states.float())
    energy = (moved / lasted).sum(0).mean()
    return energy.item(), (energy - (states[-1] - states[0]).square().sum(-1).mean()).item()


@answers.wrong(5)
def takes_two_products(field, z, t):
    rate = torch.func.jvp(lambda t: field(z, t), (t,), (torch.ones_like(t),))[1]
    return rate + torch.func.jvp(lambda z: field(z, t), (z,), (field(z, t),))[1]


@answers.wrong(5)
def keeps_the_particle_where_it_is(field, z, t):
    return torch.func.jvp(lambda t: field(z, t), (t,), (torch.ones_like(t),))[1]


@answers.wrong(5)
def freezes_time(field, z, t):
    return torch.func.jvp(lambda z: field(z, t), (z,), (field(z, t),))[1]


@answers.wrong(5)
def takes_a_small_difference(field, z, t):
    u = field(z, t)
    return (field(z + 1e-6 * u, t + 1e-6) - u) / 1e-6


@answers.wrong(5)
def makes_the_whole_jacobian(field, z, t):
    u = field(z, t)
    by_z, by_t = torch.func.jacfwd(field, argnums=(0, 1))(z, t)
    return torch.einsum("bicj,cj->bi", by_z, u) + by_t


@answers.right(5)
def by_forward_mode_with_dual_numbers(field, z, t):
    import torch.autograd.forward_ad as forward

    u = field(z, t)
    with forward.dual_level():
        moved = field(forward.make_dual(z, u), forward.make_dual(t, torch.ones_like(t)))
        return forward.unpack_dual(moved).tangent


@answers.right(5)
def along_a_line_of_one_parameter(field, z, t):
    u = field(z, t)
    zero = torch.zeros_like(t)
    return torch.func.jvp(lambda s: field(z + s * u, t + s), (zero,), (torch.ones_like(zero),))[
        1
    ].tolist()


test_answers = answers.test()
