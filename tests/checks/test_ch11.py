"""Answers to the exercises of chapter 11: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import torch

from minildm.checks import ch11

from .answers import Answers

answers = Answers(ch11)


# --- 11.1: attention with weights ----------------------------------------------------------------------------------


@answers.wrong(1)
def forgets_the_weights(q, k, v, w):
    return (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ v


@answers.wrong(1)
def weighs_the_values_alone(q, k, v, w):
    return (q @ k.T / q.shape[-1] ** 0.5).softmax(-1) @ (w[:, None] * v)


@answers.wrong(1)
def does_not_normalize(q, k, v, w):
    return ((q @ k.T / q.shape[-1] ** 0.5).exp() * w) @ v


@answers.wrong(1)
def forgets_the_width(q, k, v, w):
    return (q @ k.T + w.log()).softmax(-1) @ v


@answers.wrong(1)
def overflows_for_large_scores(q, k, v, w):
    similar = (q @ k.T / q.shape[-1] ** 0.5).exp() * w
    return similar @ v / similar.sum(1, keepdim=True)


@answers.right(1)
def subtracts_the_largest_score_itself(q, k, v, w):
    scores = q @ k.T / q.shape[-1] ** 0.5
    similar = (scores - scores.masked_fill(w == 0, -torch.inf).amax(1, keepdim=True)).clamp(
        max=0
    ).exp() * w
    return similar @ v / similar.sum(1, keepdim=True)


@answers.right(1)
def in_single_precision_by_lists(q, k, v, w):
    q, k, v, w = q.float(), k.float(), v.float(), w.float()
    return [((row @ k.T / math.sqrt(len(row)) + w.log()).softmax(-1) @ v).tolist() for row in q]


# --- 11.2: weights of uneven points --------------------------------------------------------------------------------


@answers.wrong(2)
def weighs_all_points_alike(points):
    return torch.full_like(points, 1 / len(points))


@answers.wrong(2)
def takes_the_gap_to_the_right(points):
    gaps = torch.cat((points.diff(), torch.zeros(1, dtype=points.dtype)))
    return gaps / gaps.sum()


@answers.wrong(2)
def gives_the_ends_a_whole_gap(points):
    gaps = points.diff()
    weights = torch.cat((gaps[:1], (gaps[1:] + gaps[:-1]) / 2, gaps[-1:]))
    return weights / weights.sum()


@answers.wrong(2)
def does_not_divide_by_the_length(points):
    half, none = points.diff() / 2, torch.zeros(1, dtype=points.dtype)
    return torch.cat((none, half)) + torch.cat((half, none))


@answers.right(2)
def goes_from_gap_to_gap(points):
    points, weights = points.tolist(), [0.0] * len(points)
    for j in range(len(points) - 1):
        weights[j] += (points[j + 1] - points[j]) / 2
        weights[j + 1] += (points[j + 1] - points[j]) / 2
    return [weight / (points[-1] - points[0]) for weight in weights]


@answers.right(2)
def goes_by_middles_of_gaps(points):
    middles = (points[1:] + points[:-1]) / 2
    edges = torch.cat((points[:1], middles, points[-1:])).float()
    return edges.diff() / (edges[-1] - edges[0])


# --- 11.3: turn a vector -------------------------------------------------------------------------------------------


def turned(x, positions, base):
    half = x.shape[-1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half, dtype=x.dtype) / half)
    one, two = x[:, :half], x[:, half:]
    return torch.cat(
        (one * angles.cos() - two * angles.sin(), one * angles.sin() + two * angles.cos()), dim=1
    )


@answers.wrong(3)
def turns_backwards(x, positions, base):
    return turned(x, -positions, base)


@answers.wrong(3)
def pairs_neighboring_channels(x, positions, base):
    even_then_odd = torch.cat((torch.arange(0, x.shape[1], 2), torch.arange(1, x.shape[1], 2)))
    return turned(x[:, even_then_odd], positions, base)[:, even_then_odd.argsort()]


@answers.wrong(3)
def takes_the_square_of_the_rates(x, positions, base):
    return turned(x, positions, base**2)


@answers.wrong(3)
def uses_complex_numbers(x, positions, base):
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, dtype=torch.float64) / half)
    pairs = torch.complex(x[:, :half], x[:, half:]) * torch.exp(1j * positions[:, None] * rates)
    return torch.cat((pairs.real, pairs.imag), dim=-1)


@answers.right(3)
def turns_in_single_precision(x, positions, base):
    return turned(x.float(), positions.float(), base)


@answers.right(3)
def multiplies_by_a_matrix_for_each_row(x, positions, base):
    n, half = x.shape[0], x.shape[1] // 2
    angles = positions[:, None] * base ** (-torch.arange(half, dtype=x.dtype) / half)
    cos, sin = torch.diag_embed(angles.cos()), torch.diag_embed(angles.sin())
    matrices = torch.cat((torch.cat((cos, -sin), 2), torch.cat((sin, cos), 2)), 1)
    return [(matrices[i] @ x[i]).tolist() for i in range(n)]


# --- 11.4: a filter ------------------------------------------------------------------------------------------------


def waves_of(positions, R, period):
    return torch.exp(
        2j * math.pi * positions[:, None] * torch.arange(len(R), dtype=torch.float64) / period
    )


@answers.wrong(4)
def counts_each_wave_once(values, positions, weights, R, period):
    waves = waves_of(positions, R, period)
    return (waves @ (R * ((weights * values).to(R.dtype) @ waves.conj()))).real


@answers.wrong(4)
def counts_the_mean_twice(values, positions, weights, R, period):
    return 2 * counts_each_wave_once(values, positions, weights, R, period)


@answers.wrong(4)
def forgets_the_measure(values, positions, weights, R, period):
    twice = torch.where(torch.arange(len(R)) > 0, 2.0, 1.0)
    return counts_each_wave_once(
        values, positions, torch.full_like(weights, 1 / len(weights)), twice * R, period
    )


@answers.wrong(4)
def moves_the_other_way(values, positions, weights, R, period):
    twice = torch.where(torch.arange(len(R)) > 0, 2.0, 1.0)
    return counts_each_wave_once(values, positions, weights, twice * R.conj(), period)


@answers.wrong(4)
def builds_the_whole_kernel(values, positions, weights, R, period):
    kernel = torch.zeros(len(values), len(values), dtype=torch.float64)
    for m in range(len(R)):
        angle = 2 * math.pi * m / period * (positions[:, None] - positions)
        kernel += (2 if m else 1) * (R[m].real * angle.cos() - R[m].imag * angle.sin())
    return kernel @ (weights * values)


@answers.right(4)
def goes_wave_by_wave_in_real_numbers(values, positions, weights, R, period):
    written = torch.zeros_like(values)
    for m in range(len(R)):
        angle = 2 * math.pi * m / period * positions
        even, odd = (
            (weights * values) @ angle.cos(),
            (weights * values) @ angle.sin(),
        )  # c_m = even - i odd
        one, two = R[m].real * even + R[m].imag * odd, R[m].imag * even - R[m].real * odd
        written += (2 if m else 1) * (one * angle.cos() - two * angle.sin())
    return written.tolist()


@answers.right(4)
def adds_the_negative_waves(values, positions, weights, R, period):
    m = torch.arange(1 - len(R), len(R), dtype=torch.float64)
    waves = torch.exp(2j * math.pi * positions[:, None] * m / period).to(torch.complex64)
    both = torch.cat((R[1:].flip(0).conj(), R)).to(torch.complex64)
    return (waves @ (both * ((weights * values).to(torch.complex64) @ waves.conj()))).real


# --- 11.5: the matrix of slices ------------------------------------------------------------------------------------


@answers.wrong(5)
def does_not_normalize_the_slices(assignment, weights, T):
    return assignment @ T @ assignment.T * weights


@answers.wrong(5)
def normalizes_over_slices(assignment, weights, T):
    inside = weights[:, None] * assignment
    return assignment @ T @ (inside / inside.sum(1, keepdim=True)).T


@answers.wrong(5)
def forgets_the_weights_of_the_points(assignment, weights, T):
    return assignment @ T @ (assignment / assignment.sum(0)).T


@answers.wrong(5)
def mixes_the_slices_the_other_way(assignment, weights, T):
    inside = weights[:, None] * assignment
    return assignment @ T.T @ (inside / inside.sum(0)).T


@answers.right(5)
def sums_by_indices_in_single_precision(assignment, weights, T):
    mass = torch.einsum("j,jg->g", weights, assignment)
    return torch.einsum("ig,ge,j,je,e->ij", assignment, T, weights, assignment, 1 / mass).float()


@answers.right(5)
def reads_each_point_alone(assignment, weights, T):
    columns = []
    for j in range(len(weights)):
        point = torch.eye(len(weights), dtype=assignment.dtype)[j]
        columns.append(assignment @ (T @ ((weights * point) @ assignment / (weights @ assignment))))
    return [list(row) for row in zip(*(column.tolist() for column in columns))]


test_answers = answers.test()
