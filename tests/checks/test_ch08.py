"""Answers to the exercises of chapter 08: wrong ones that its checks must refuse, right ones that they must accept."""

import torch

from minildm.checks import ch08
from minildm.dynamics.solvers import heun

from .answers import Answers

answers = Answers(ch08)


@answers.wrong(1)
def finds_no_error(u, z, t, h):
    return z + h * u(z, torch.tensor(t)), torch.zeros_like(z)


@answers.wrong(1)
def evaluates_the_field_four_times(u, z, t, h):
    ahead = z + h / 2 * (
        u(z, torch.tensor(t)) + u(z + h * u(z, torch.tensor(t)), torch.tensor(t + h))
    )
    return ahead, ahead - z - h * u(z, torch.tensor(t))


@answers.wrong(1)
def asks_the_package_and_then_euler(u, z, t, h):
    now = torch.tensor(t)
    ahead = heun(u, z, now, torch.tensor(t + h))
    return ahead, ahead - (z + h * u(z, now))


@answers.wrong(1)
def returns_the_state_of_euler(u, z, t, h):
    k1 = u(z, torch.tensor(t))
    k2 = u(z + h * k1, torch.tensor(t + h))
    return z + h * k1, h / 2 * (k2 - k1)


@answers.wrong(1)
def returns_the_size_of_the_error(u, z, t, h):
    k1 = u(z, torch.tensor(t))
    k2 = u(z + h * k1, torch.tensor(t + h))
    return z + h / 2 * (k1 + k2), (h / 2 * (k2 - k1)).abs()


@answers.wrong(1)
def forgets_a_half(u, z, t, h):
    k1 = u(z, torch.tensor(t))
    k2 = u(z + h * k1, torch.tensor(t + h))
    return z + h / 2 * (k1 + k2), h * (k2 - k1)


@answers.right(1)
def in_single_precision(u, z, t, h):
    z = z.float()
    k1 = u(z, torch.tensor(t)).float()
    k2 = u(z + h * k1, torch.tensor(t + h)).float()
    return z + h * (k1 + k2) / 2, h * (k2 - k1) / 2


@answers.right(1)
def by_two_states_in_a_list(u, z, t, h):
    slope = u(z, torch.tensor(t))
    plain = z + h * slope
    better = (plain + z + h * u(plain, torch.tensor(t + h))) / 2
    return [better, better - plain]


@answers.wrong(2)
def takes_the_state_for_noise(z, denoised, a, b, a_next, b_next):
    return a_next * denoised + b_next * z


@answers.wrong(2)
def only_rescales_the_state(z, denoised, a, b, a_next, b_next):
    return a_next * denoised + b_next / b * z


@answers.wrong(2)
def shrinks_the_noise_like_the_ancestral_mean(z, denoised, a, b, a_next, b_next):
    return a_next * denoised + a / a_next * (b_next / b) ** 2 * (z - a * denoised)


@answers.wrong(2)
def goes_a_straight_way(z, denoised, a, b, a_next, b_next):
    return z + (a_next - a) / (1 - a) * (denoised - z)


@answers.right(2)
def by_the_exponential_form(z, denoised, a, b, a_next, b_next):
    ratio = b_next / b
    return ratio * z + (a_next - a * ratio) * denoised


@answers.right(2)
def by_rates_in_single_precision(z, denoised, a, b, a_next, b_next):
    z, denoised = z.float(), denoised.float()
    return a_next * denoised + b_next / b * (z - a * denoised)


@answers.right(2)
def as_lists(z, denoised, a, b, a_next, b_next):
    return (a_next * denoised + b_next * (z - a * denoised) / b).tolist()


@answers.wrong(3)
def keeps_the_noise_of_ddim(z, denoised, a, b, a_next, b_next):
    return a_next * denoised + b_next * (z - a * denoised) / b, b_next**2


@answers.wrong(3)
def gives_the_standard_deviation(z, denoised, a, b, a_next, b_next):
    c = a / a_next
    v = b**2 - c**2 * b_next**2
    return (c * b_next**2 * z + a_next * v * denoised) / b**2, b_next * v**0.5 / b


@answers.wrong(3)
def swaps_the_two_weights(z, denoised, a, b, a_next, b_next):
    c = a / a_next
    v = b**2 - c**2 * b_next**2
    return (c * b_next**2 * denoised + a_next * v * z) / b**2, b_next**2 * v / b**2


@answers.right(3)
def by_precisions(z, denoised, a, b, a_next, b_next):
    if b_next == 0:
        return denoised, 0.0
    c = a / a_next
    v = b**2 - c**2 * b_next**2
    precision = 1 / b_next**2 + c**2 / v
    return (a_next * denoised / b_next**2 + c * z / v) / precision, 1 / precision


@answers.right(3)
def by_the_gain_in_single_precision(z, denoised, a, b, a_next, b_next):
    z, denoised, cross = z.float(), denoised.float(), a / a_next * b_next**2
    return [
        a_next * denoised + cross / b**2 * (z - a * denoised),
        torch.tensor(b_next**2 - cross**2 / b**2),
    ]


@answers.wrong(4)
def normalizes_densities_that_may_be_zero(z, means, weights, a, b, da, db, std):
    q = a**2 * std**2 + b**2
    r = weights * (-((z[:, None] - a * means) ** 2) / (2 * q)).exp()
    r = r / r.sum(1, keepdim=True)
    spread = r @ means**2 - (r @ means) ** 2
    return (a * da * std**2 + b * db) / q + a * b * (da * b - a * db) / q**2 * spread


@answers.wrong(4)
def forgets_that_modes_compete(z, means, weights, a, b, da, db, std):
    return torch.full_like(z, (a * da * std**2 + b * db) / (a**2 * std**2 + b**2))


@answers.wrong(4)
def takes_the_weights_for_the_posterior(z, means, weights, a, b, da, db, std):
    q = a**2 * std**2 + b**2
    spread = (weights @ means**2 - (weights @ means) ** 2).expand_as(z)
    return (a * da * std**2 + b * db) / q + a * b * (da * b - a * db) / q**2 * spread


@answers.wrong(4)
def divides_by_q_once(z, means, weights, a, b, da, db, std):
    q = a**2 * std**2 + b**2
    r = (weights.log() - (z[:, None] - a * means) ** 2 / (2 * q)).softmax(1)
    spread = r @ means**2 - (r @ means) ** 2
    return (a * da * std**2 + b * db) / q + a * b * (da * b - a * db) / q * spread


@answers.right(4)
def by_autograd(z, means, weights, a, b, da, db, std):
    q, points = a**2 * std**2 + b**2, z.clone().requires_grad_()
    gap = points[:, None] - a * means
    r = (weights.log() - gap**2 / (2 * q)).softmax(1)
    field = (r * (da * means + (a * da * std**2 + b * db) / q * gap)).sum()
    return torch.autograd.grad(field, points)[0]


@answers.right(4)
def by_pairs_of_modes(z, means, weights, a, b, da, db, std):
    q = a**2 * std**2 + b**2
    r = (weights.log() - (z[:, None] - a * means) ** 2 / (2 * q)).softmax(1)
    spread = (r[:, :, None] * r[:, None] * (means[:, None] - means) ** 2).sum((1, 2)) / 2
    return ((a * da * std**2 + b * db) / q + a * b * (da * b - a * db) / q**2 * spread).tolist()


@answers.right(4)
def slopes_in_single_precision(z, means, weights, a, b, da, db, std):
    return torch.as_tensor(by_pairs_of_modes(z, means, weights, a, b, da, db, std)).float()


@answers.wrong(5)
def forgets_like_ddim(z, denoised, before, rho_before, a, b, a_next, b_next):
    return b_next / b * z + (a_next - a * b_next / b) * denoised


@answers.wrong(5)
def forgets_a_half_of_the_slope(z, denoised, before, rho_before, a, b, a_next, b_next):
    rho, d = a / b, a_next / b_next - a / b
    return b_next * (z / b + denoised * d + (denoised - before) / (rho - rho_before) * d**2)


@answers.wrong(5)
def takes_steps_of_one_length(z, denoised, before, rho_before, a, b, a_next, b_next):
    return b_next / b * z + (a_next - a * b_next / b) * (1.5 * denoised - 0.5 * before)


@answers.right(5)
def by_the_middle_of_the_line(z, denoised, before, rho_before, a, b, a_next, b_next):
    rho, rho_next = a / b, a_next / b_next
    fraction = ((rho + rho_next) / 2 - rho_before) / (rho - rho_before)
    return b_next * (z / b + (rho_next - rho) * torch.lerp(before, denoised, fraction))


@answers.right(5)
def by_trapezoids_in_single_precision(z, denoised, before, rho_before, a, b, a_next, b_next):
    z, denoised, before, rho, rho_next = (
        z.float(),
        denoised.float(),
        before.float(),
        a / b,
        a_next / b_next,
    )
    last = denoised + (denoised - before) / (rho - rho_before) * (rho_next - rho)
    return b_next * (z / b + (rho_next - rho) * (denoised + last) / 2)


test_answers = answers.test()
