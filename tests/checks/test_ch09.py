"""Answers to the exercises of chapter 09: wrong ones that its checks must refuse, right ones that they must accept."""

import math

import numpy as np
import torch

from minildm.checks import ch09
from minildm.tokens import MASK

from .answers import Answers

answers = Answers(ch09)


def entropy(p):
    """-sum p log p in nats, where 0 log 0 = 0."""
    return -torch.special.xlogy(p, p).sum()


@answers.wrong(1)
def opens_by_the_time_alone(tokens, words, chance, t, s):
    return torch.where((tokens == MASK) & (chance < s), words, tokens)


@answers.wrong(1)
def opens_by_the_length_of_the_step(tokens, words, chance, t, s):
    return torch.where((tokens == MASK) & (chance < s - t), words, tokens)


@answers.wrong(1)
def redraws_visible_words(tokens, words, chance, t, s):
    return torch.where((1 - t) * chance < s - t, words, tokens)


@answers.wrong(1)
def keeps_masks_with_the_probability_of_opening(tokens, words, chance, t, s):
    return torch.where((tokens == MASK) & ((1 - t) * chance >= s - t), words, tokens)


@answers.right(1)
def word_by_word_in_lists(tokens, words, chance, t, s):
    return [
        [
            int(word) if token == MASK and c < (s - t) / (1 - t) else int(token)
            for token, word, c in zip(*row)
        ]
        for row in zip(tokens, words, chance)
    ]


@answers.right(1)
def by_opening_times_in_numpy(tokens, words, chance, t, s):
    opening = t + (1 - t) * chance.numpy()
    return np.where((tokens.numpy() == MASK) & (opening < s), words.numpy(), tokens.numpy())


@answers.wrong(2)
def gives_the_entropy_of_the_table(joint):
    return entropy(joint)


@answers.wrong(2)
def multiplies_zero_by_infinity(joint):
    product = torch.ones_like(joint)
    for axis in range(joint.dim()):
        product = product * joint.sum([k for k in range(joint.dim()) if k != axis], keepdim=True)
    return (joint * (joint.log() - product.log())).sum()


@answers.wrong(2)
def counts_in_bits(joint):
    axes = range(joint.dim())
    nats = sum(entropy(joint.sum([k for k in axes if k != axis])) for axis in axes) - entropy(joint)
    return nats / math.log(2)


@answers.wrong(2)
def sums_over_one_axis_only(joint):
    return sum(entropy(joint.sum(axis)) for axis in range(joint.dim())) - entropy(joint)


@answers.right(2)
def divergence_from_the_product_in_numpy(joint):
    joint, axes = joint.numpy(), range(joint.dim())
    product = np.ones_like(joint)
    for axis in axes:
        product = product * joint.sum(tuple(k for k in axes if k != axis), keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / product[seen])).sum())


@answers.right(2)
def entropies_in_single_precision(joint):
    joint, axes = joint.float(), range(joint.dim())
    return sum(entropy(joint.sum([k for k in axes if k != axis])) for axis in axes) - entropy(joint)


@answers.wrong(3)
def costs_nothing(pair, steps):
    return 0.0


@answers.wrong(3)
def takes_half_the_information(pair, steps):
    return (entropy(pair.sum(0)) + entropy(pair.sum(1)) - entropy(pair)) / (2 * steps)


@answers.wrong(3)
def pays_in_every_step_but_one(pair, steps):
    return (entropy(pair.sum(0)) + entropy(pair.sum(1)) - entropy(pair)) * (1 - 1 / steps)


@answers.wrong(3)
def pays_the_entropy_of_both(pair, steps):
    return entropy(pair) / steps


@answers.right(3)
def by_the_staircase(pair, steps):
    alone = (entropy(pair.sum(0)) + entropy(pair.sum(1))) / 2
    given = entropy(pair) - alone
    g = [(1 - k / steps) * alone + k / steps * given for k in range(steps)]
    return 2 / steps * sum(g) - entropy(pair)


@answers.right(3)
def entropies_of_words_in_single_precision(pair, steps):
    pair = pair.float()
    return (entropy(pair.sum(0)) + entropy(pair.sum(1)) - entropy(pair)) / steps


@answers.right(3)
def by_loops_of_numbers(pair, steps):
    rows, columns = pair.sum(1).tolist(), pair.sum(0).tolist()
    return (
        sum(
            p * math.log(p / (rows[i] * columns[j]))
            for i, row in enumerate(pair.tolist())
            for j, p in enumerate(row)
            if p > 0
        )
        / steps
    )


@answers.wrong(4)
def by_autograd(scores, tau, v):
    scores = scores.clone().requires_grad_()
    return torch.autograd.grad((scores / tau).softmax(-1), scores, v)[0]


@answers.wrong(4)
def by_a_function_transform(scores, tau, v):
    return torch.func.vjp(lambda x: (x / tau).softmax(-1), scores)[1](v)[0]


@answers.wrong(4)
def by_a_matrix(scores, tau, v):
    chosen = (scores / tau).softmax(-1)
    matrix = torch.diag_embed(chosen) - chosen[..., None] * chosen[..., None, :]
    return (matrix @ v[..., None])[..., 0] / tau


@answers.wrong(4)
def forgets_that_weights_sum_to_one(scores, tau, v):
    return (scores / tau).softmax(-1) * v / tau


@answers.wrong(4)
def forgets_the_outer_temperature(scores, tau, v):
    chosen = (scores / tau).softmax(-1)
    return chosen * (v - (chosen * v).sum(-1, keepdim=True))


@answers.wrong(4)
def takes_a_plain_mean(scores, tau, v):
    return (scores / tau).softmax(-1) * (v - v.mean(-1, keepdim=True)) / tau


@answers.right(4)
def by_exponentials_in_numpy(scores, tau, v):
    scores, v = scores.numpy() / tau, v.numpy()
    chosen = np.exp(scores - scores.max(-1, keepdims=True))
    chosen /= chosen.sum(-1, keepdims=True)
    weighted = chosen * v
    return (weighted - chosen * weighted.sum(-1, keepdims=True)) / tau


@answers.right(4)
def in_single_precision(scores, tau, v):
    chosen, v = (scores.float() / tau).softmax(-1), v.float()
    return chosen * (v - (chosen * v).sum(-1, keepdim=True)) / tau


@answers.wrong(5)
def keeps_the_own_cost_in_the_baseline(costs, scores):
    return ((costs - costs.mean())[:, None] * scores).mean(0)


@answers.wrong(5)
def has_no_baseline(costs, scores):
    return (costs[:, None] * scores).mean(0)


@answers.wrong(5)
def adds_draws_up(costs, scores):
    others = (costs.sum() - costs) / (len(costs) - 1)
    return ((costs - others)[:, None] * scores).sum(0)


@answers.wrong(5)
def divides_the_others_by_all(costs, scores):
    return ((costs - (costs.sum() - costs) / len(costs))[:, None] * scores).mean(0)


@answers.right(5)
def rescales_the_plain_mean(costs, scores):
    return (costs - costs.mean()) @ scores / (len(costs) - 1)


@answers.right(5)
def draw_by_draw_in_lists(costs, scores):
    costs, count = costs.tolist(), len(costs)
    gains = [cost - (sum(costs) - cost) / (count - 1) for cost in costs]
    return [
        sum(gain * score for gain, score in zip(gains, column)) / count
        for column in scores.T.tolist()
    ]


@answers.right(5)
def sums_in_single_precision(costs, scores):
    costs, scores = costs.float(), scores.float()
    return (costs - costs.mean()) @ scores / (len(costs) - 1)


test_answers = answers.test()
