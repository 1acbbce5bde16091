"""Answers to the exercises of chapter 12: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import torch

from minildm.checks import ch12

from .answers import Answers

answers = Answers(ch12)


# --- 12.1: the warm-up ---------------------------------------------------------------------------------------------


def logistic(x):
    return 1 / (1 + math.exp(-x))


@answers.wrong(1)
def rises_on_a_line(step, warmup):
    return 0.001 + 0.999 * min(1.0, step / max(warmup, 1))


@answers.wrong(1)
def leaves_the_logistic_as_it_is(step, warmup):
    return 1.0 if step >= warmup else 0.001 + 0.999 * logistic(10 * (step / warmup - 0.8))


@answers.wrong(1)
def begins_at_zero(step, warmup):
    low, high = logistic(-8.0), logistic(2.0)
    return 1.0 if step >= warmup else (logistic(10 * (step / warmup - 0.8)) - low) / (high - low)


@answers.wrong(1)
def goes_on_after_the_warm_up(step, warmup):
    low, high = logistic(-8.0), logistic(2.0)
    return 0.001 + 0.999 * (logistic(10 * (step / max(warmup, 1) - 0.8)) - low) / (high - low)


@answers.right(1)
def in_single_precision(step, warmup):
    part = torch.tensor(min(step / warmup, 1.0) if warmup else 1.0)
    at = torch.sigmoid(10 * (torch.stack([torch.zeros(()), part, torch.ones(())]) - 0.8))
    return 0.001 + 0.999 * (at[1] - at[0]) / (at[2] - at[0])


@answers.right(1)
def by_tanh(step, warmup):
    if step >= warmup:
        return 1
    low, here, high = (math.tanh(5 * (part - 0.8)) for part in (0, step / warmup, 1))
    return 0.001 + 0.999 * (here - low) / (high - low)


# --- 12.2: the noisy decoder ---------------------------------------------------------------------------------------


@answers.wrong(2)
def forgets_to_square_the_distance(y, z, h, sigma):
    return (-torch.cdist(y, z) / (2 * sigma**2)).softmax(1) @ h


@answers.wrong(2)
def forgets_the_two(y, z, h, sigma):
    return (-(torch.cdist(y, z) ** 2) / sigma**2).softmax(1) @ h


@answers.wrong(2)
def takes_the_nearest_text(y, z, h, sigma):
    return h[torch.cdist(y, z).argmin(1)]


@answers.wrong(2)
def underflows_for_small_noise(y, z, h, sigma):
    weights = torch.exp(-(torch.cdist(y, z) ** 2) / (2 * sigma**2))
    return weights @ h / weights.sum(1, keepdim=True)


@answers.right(2)
def one_text_after_another(y, z, h, sigma):
    rows = []
    for one in y.float():
        exponent = -((one - z.float()) ** 2).sum(1) / (2 * sigma**2)
        weights = (exponent - exponent.max()).exp()
        rows.append((weights @ h.float() / weights.sum()).tolist())
    return rows


@answers.right(2)
def by_gaussian_densities(y, z, h, sigma):
    log = torch.distributions.Normal(z, sigma).log_prob(y[:, None]).sum(-1)
    return torch.einsum("nN,Nk->nk", (log - log.logsumexp(1, keepdim=True)).exp(), h)


# --- 12.3: a value with a scaled gradient --------------------------------------------------------------------------


@answers.wrong(3)
def scales_the_value_too(z1, scale):
    return scale * z1


@answers.wrong(3)
def stops_the_whole_gradient(z1, scale):
    return z1.detach()


@answers.wrong(3)
def hands_the_whole_gradient_on(z1, scale):
    return z1


@answers.wrong(3)
def sends_the_gradient_to_other_rows(z1, scale):
    return z1.detach() + scale * (z1 - z1.detach()).flip(0)


@answers.wrong(3)
def spreads_the_gradient_evenly(z1, scale):
    return z1.detach() + scale * (z1 - z1.detach()).mean()


@answers.right(3)
def mixes_with_a_detached_copy(z1, scale):
    return torch.lerp(z1.detach(), z1, scale)


@answers.right(3)
def scales_in_a_function_of_its_own(z1, scale):
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z.clone()

        @staticmethod
        def backward(ctx, back):
            return scale * back

    return Scaled.apply(z1)


@answers.right(3)
def gives_single_precision(z1, scale):
    return (scale * z1 + (1 - scale) * z1.detach()).float()


# --- 12.4: a time distribution with a floor ------------------------------------------------------------------------------


@answers.wrong(4)
def draws_where_the_loss_is_high(loss, floor):
    return torch.cat(
        [loss.new_zeros(1), ((1 - floor) * loss / loss.sum() + floor / len(loss)).cumsum(0)]
    )


@answers.wrong(4)
def forgets_the_floor(loss, floor):
    falls = loss[:-1] - loss[1:]
    density = torch.cat([falls[:1], (falls[1:] + falls[:-1]) / 2, falls[-1:]])
    return torch.cat([loss.new_zeros(1), (density / density.sum()).cumsum(0)])


@answers.wrong(4)
def adds_the_floor_without_taking(loss, floor):
    falls = loss[:-1] - loss[1:]
    density = torch.cat([falls[:1], (falls[1:] + falls[:-1]) / 2, falls[-1:]])
    return torch.cat([loss.new_zeros(1), (density / density.sum() + floor / len(loss)).cumsum(0)])


@answers.wrong(4)
def halves_the_ends(loss, floor):
    falls = loss[:-1] - loss[1:]
    density = torch.cat([falls[:1] / 2, (falls[1:] + falls[:-1]) / 2, falls[-1:] / 2])
    return torch.cat(
        [loss.new_zeros(1), ((1 - floor) * density / density.sum() + floor / len(loss)).cumsum(0)]
    )


@answers.right(4)
def mixes_the_distribution_functions(loss, floor):
    loss, n = loss.tolist(), len(loss)
    density = [
        (loss[max(i - 1, 0)] - loss[min(i + 1, n - 1)]) / (min(i + 1, n - 1) - max(i - 1, 0))
        for i in range(n)
    ]
    return [(1 - floor) * sum(density[:i]) / sum(density) + floor * i / n for i in range(n + 1)]


@answers.right(4)
def by_a_gradient_of_torch(loss, floor):
    density = -torch.gradient(loss.float())[0]
    return torch.nn.functional.pad(
        (floor / len(loss) + (1 - floor) * density / density.sum()).cumsum(0), (1, 0)
    )


# --- 12.5: the power that an encoder chooses -----------------------------------------------------------------------


@answers.wrong(5)
def forgets_the_square_root(sigma, gradient_scale, rho):
    return max(0.0, (sigma - gradient_scale * sigma**2) / (gradient_scale - rho * sigma))


@answers.wrong(5)
def allows_negative_power(sigma, gradient_scale, rho):
    return (sigma - gradient_scale**0.5 * sigma**2) / (gradient_scale**0.5 - rho * sigma)


@answers.wrong(5)
def forgets_that_the_path_is_noisy(sigma, gradient_scale, rho):
    return max(0.0, sigma / gradient_scale**0.5 - sigma**2)


@answers.right(5)
def by_golden_sections(sigma, gradient_scale, rho):
    low, high = 0.0, 1e4
    for _ in range(200):
        one, two = high - 0.618034 * (high - low), low + 0.618034 * (high - low)
        slope_like = sum(
            sign * (sigma**2 / (q + sigma**2) + gradient_scale * q / (1 + rho * q))
            for q, sign in ((one, 1), (two, -1))
        )
        low, high = (low, two) if slope_like < 0 else (one, high)
    return round(low, 9)


@answers.right(5)
def as_a_tensor(sigma, gradient_scale, rho):
    sigma, root = torch.tensor(sigma), torch.tensor(gradient_scale).sqrt()
    return torch.relu((sigma - root * sigma**2) / (root - rho * sigma))


test_answers = answers.test()
