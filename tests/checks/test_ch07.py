"""Answers to the exercises of chapter 07: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import numpy as np
import torch

from minildm.checks import ch07

from .answers import Answers

answers = Answers(ch07)


@answers.wrong(1)
def counts_time_from_the_data(log_snr, d):
    return 2 / math.pi * torch.atan(d * torch.exp(-log_snr / 2))


@answers.wrong(1)
def forgets_the_half(log_snr, d):
    return 2 / math.pi * torch.atan(d * torch.exp(log_snr))


@answers.wrong(1)
def divides_by_d(log_snr, d):
    return 2 / math.pi * torch.atan(torch.exp(log_snr / 2) / d)


@answers.wrong(1)
def through_the_fraction_of_signal(log_snr, d):
    snr = d**2 * log_snr.exp()
    return 2 / math.pi * torch.asin((snr / (1 + snr)).sqrt())


@answers.right(1)
def by_a_shift_of_the_cosine(log_snr, d):
    shifted = log_snr.float() + 2 * math.log(d)
    return 2 / math.pi * torch.atan2(torch.sigmoid(shifted).sqrt(), torch.sigmoid(-shifted).sqrt())


@answers.right(1)
def number_by_number(log_snr, d):
    times = [2 / math.pi * math.atan(d * math.exp(x / 2)) for x in log_snr.flatten().tolist()]
    return np.array(times).reshape(log_snr.shape)


@answers.wrong(2)
def forgets_to_square_the_noise(z, score, a, b):
    return (z + b * score) / a


@answers.wrong(2)
def leaves_the_data_shrunk(z, score, a, b):
    return z + b**2 * score


@answers.wrong(2)
def climbs_down(z, score, a, b):
    return (z - b**2 * score) / a


@answers.right(2)
def by_the_noise(z, score, a, b):
    noise = -b * score
    return ((z - b * noise) / a).tolist()


@answers.right(2)
def cleans_in_single_precision(z, score, a, b):
    return (z.float() + b.float() ** 2 * score.float()) / a.float()


@answers.wrong(3)
def forgets_to_divide_by_a(z, noise, a, b, da, db):
    return da * (z - b * noise) + db * noise


@answers.wrong(3)
def takes_z_for_the_data(z, noise, a, b, da, db):
    return da * z + db * noise


@answers.wrong(3)
def has_the_slope_of_the_noise_upside_down(z, noise, a, b, da, db):
    return da / a * (z - b * noise) - db * noise


@answers.right(3)
def by_way_of_the_data_prediction(z, noise, a, b, da, db):
    denoised = (z - b * noise) / a
    return (da * denoised + db * noise).tolist()


@answers.right(3)
def velocities_in_single_precision(z, noise, a, b, da, db):
    z, noise, a, b, da, db = (x.float() for x in (z, noise, a, b, da, db))
    return da / a * z - (b * da / a - db) * noise


@answers.wrong(4)
def adds_all_of_the_noise_anew(z, a, b, a_r, b_r, xi):
    return a_r / a * z + b_r * xi


@answers.wrong(4)
def adds_a_variance(z, a, b, a_r, b_r, xi):
    return a_r / a * z + (b_r**2 - (a_r / a * b) ** 2) * xi


@answers.wrong(4)
def does_not_shrink_the_old_noise(z, a, b, a_r, b_r, xi):
    return a_r / a * z + (b_r**2 - b**2).clamp(min=0).sqrt() * xi


@answers.wrong(4)
def subtracts_standard_deviations(z, a, b, a_r, b_r, xi):
    return a_r / a * z + (b_r - a_r / a * b) * xi


@answers.right(4)
def by_a_difference_of_ratios(z, a, b, a_r, b_r, xi):
    fresh = a_r * torch.sqrt(((b_r / a_r) ** 2 - (b / a) ** 2).clamp(min=0))
    return (a_r / a * z + fresh * xi).numpy()


@answers.right(4)
def forgets_in_single_precision(z, a, b, a_r, b_r, xi):
    z, a, b, a_r, b_r, xi = (x.float() for x in (z, a, b, a_r, b_r, xi))
    return a_r / a * z + ((b_r - a_r / a * b) * (b_r + a_r / a * b)).clamp(min=0).sqrt() * xi


@answers.wrong(5)
def takes_the_running_minimum(y, weight):
    return [min(y[: i + 1]) for i in range(len(y))]


def isotonic(y, weight, merge_back=True):
    """Blocks of falling means, as one list."""
    blocks = []
    for value, w in zip(y, weight):
        blocks.append((value, w, 1))
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (m2, w2, n2), (m1, w1, n1) = blocks.pop(), blocks.pop()
            blocks.append(((m1 * w1 + m2 * w2) / (w1 + w2), w1 + w2, n1 + n2))
            if not merge_back:
                break
    return [mean for mean, _, n in blocks for _ in range(n)]


@answers.wrong(5)
def does_not_merge_back(y, weight):
    return isotonic(y, weight, merge_back=False)


@answers.wrong(5)
def ignores_the_weights(y, weight):
    return isotonic(y, [1.0] * len(y))


@answers.wrong(5)
def makes_it_rise(y, weight):
    return [-x for x in isotonic([-x for x in y], weight)]


@answers.wrong(5)
def cuts_what_rises(y, weight):
    falls = torch.tensor(y).double().diff().clamp(max=0).cumsum(0)
    return [y[0], *(y[0] + falls).tolist()]


@answers.right(5)
def by_the_largest_of_least_means(y, weight):
    """x_i = max over ends k >= i of the least mean of y from j to k over starts j <= i."""

    def mean(j, k):
        return float(np.average(y[j : k + 1], weights=weight[j : k + 1]))

    n = len(y)
    return torch.tensor(
        [max(min(mean(j, k) for j in range(i + 1)) for k in range(i, n)) for i in range(n)]
    )


@answers.right(5)
def from_the_right_in_an_array(y, weight):
    rising = isotonic([-x for x in reversed(y)], weight[::-1])
    return -np.array(rising[::-1], dtype=np.float32)


@answers.wrong(6)
def takes_the_left_edge(v, cdf):
    return (torch.searchsorted(cdf, v, right=True) - 1).clamp(max=len(cdf) - 2).to(v) / (
        len(cdf) - 1
    )


@answers.wrong(6)
def takes_the_middle_of_the_bin(v, cdf):
    return takes_the_left_edge(v, cdf) + 0.5 / (len(cdf) - 1)


@answers.wrong(6)
def evaluates_the_distribution(v, cdf):
    return torch.from_numpy(np.interp(v.numpy(), np.linspace(0, 1, len(cdf)), cdf.numpy()))


@answers.wrong(6)
def goes_on_with_the_slope_one(v, cdf):
    i = (torch.searchsorted(cdf, v, right=True) - 1).clamp(0, len(cdf) - 2)
    return i / (len(cdf) - 1) + v - cdf[i]


@answers.right(6)
def interpolates_in_numpy(v, cdf):
    return np.interp(v.numpy(), cdf.numpy(), np.linspace(0, 1, len(cdf)))


@answers.right(6)
def adds_up_bins_in_single_precision(v, cdf):
    """Each bin is covered to a fraction, and the fractions add up to the place."""
    v, cdf = v.float(), cdf.float()
    return ((v[:, None] - cdf[:-1]) / cdf.diff()).clamp(0, 1).mean(1)


test_answers = answers.test()
