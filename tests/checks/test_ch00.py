"""Answers to the exercises of chapter 00: wrong ones that its checks must refuse, right ones that they must accept."""

import math
import random

import numpy as np
import torch

from minildm.checks import ch00
from minildm.text.tales import LEXICON
from minildm.text.tales_parser import parse

from .answers import Answers

answers = Answers(ch00)
WORDS = [*LEXICON.species, *LEXICON.mood, *LEXICON.color, *LEXICON.place, *LEXICON.name]


@answers.wrong(1)
def adds_counts_without_logarithms(counts):
    return -float(sum(counts))


@answers.wrong(1)
def forgets_the_sign(counts):
    return sum(math.log(n) for n in counts)


@answers.wrong(1)
def counts_in_bits(counts):
    return -sum(math.log2(n) for n in counts)


@answers.right(1)
def multiplies_first(counts):
    return -math.log(math.prod(counts))


@answers.right(1)
def in_single_precision(counts):
    return -torch.tensor(counts).float().log().sum()


@answers.wrong(2)
def averages_single_perplexities(nats, lengths):
    return float((nats / lengths).exp().mean())


@answers.wrong(2)
def weighs_all_texts_alike(nats, lengths):
    return float((nats / lengths).mean().exp())


@answers.wrong(2)
def forgets_the_exponential(nats, lengths):
    return float(nats.sum() / lengths.sum())


@answers.right(2)
def in_plain_python_of_lists(nats, lengths):
    return math.exp(sum(nats.tolist()) / sum(lengths.tolist()))


@answers.right(2)
def as_a_weighted_mean_in_single_precision(nats, lengths):
    nats, lengths = nats.float(), lengths.float()
    return ((nats / lengths) @ (lengths / lengths.sum())).exp()


@answers.wrong(3)
def overflows(log_snr):
    ratio = torch.exp(log_snr / 2)
    return ratio / torch.sqrt(1 + torch.exp(log_snr)), 1 / torch.sqrt(1 + torch.exp(log_snr))


@answers.wrong(3)
def takes_the_difference_to_one(log_snr):
    a = torch.sigmoid(log_snr).sqrt()
    return a, (1 - a**2).sqrt()


@answers.wrong(3)
def takes_the_difference_to_one_for_the_other(log_snr):
    b = torch.sigmoid(-log_snr).sqrt()
    return (1 - b**2).sqrt(), b


@answers.wrong(3)
def cuts_large_values_off(log_snr):
    x = log_snr.clamp(-20, 20)
    return torch.sigmoid(x).sqrt(), torch.sigmoid(-x).sqrt()


@answers.wrong(3)
def forgets_the_roots(log_snr):
    return torch.sigmoid(log_snr), torch.sigmoid(-log_snr)


@answers.wrong(3)
def swaps_signal_and_noise(log_snr):
    return torch.sigmoid(-log_snr).sqrt(), torch.sigmoid(log_snr).sqrt()


@answers.right(3)
def as_a_list(log_snr):
    return [torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()]


@answers.right(3)
def by_softplus_in_single_precision(log_snr):
    x = log_snr.float()
    return tuple(torch.exp(-torch.nn.functional.softplus(y) / 2) for y in (-x, x))


@answers.right(3)
def by_logaddexp_of_arrays(log_snr):
    x = log_snr.numpy()
    return np.exp(-np.logaddexp(0, -x) / 2), np.exp(-np.logaddexp(0, x) / 2)


@answers.wrong(4)
def changes_nothing(text):
    return text


@answers.wrong(4)
def breaks_the_grammar(text):
    return text.replace(".", "fox", 1)


@answers.wrong(4)
def changes_a_word_that_may_change(text):
    words = text.split()
    words[0] = "once" if words[0] != "once" else "long"
    return " ".join(words)


@answers.wrong(4)
def changes_two_words(text):
    words = plants_at_the_end(text).split()
    words[3] = next(place for place in LEXICON.place if place != words[3])
    return " ".join(words)


@answers.wrong(4)
def drops_the_last_sentence(text):
    return text[: text.index("in the end")].strip()


@answers.right(4)
def plants_at_the_end(text):
    words = text.split()
    for i in reversed(range(len(words))):
        for word in WORDS:
            changed = " ".join([*words[:i], word, *words[i + 1 :]])
            report = parse(changed)
            if report.grammatical and not report.consistent:
                return changed
    raise AssertionError("every tale has such a word")


@answers.right(4)
def plants_at_random(text):
    words, rng = text.split(), random.Random(0)
    while True:
        changed = list(words)
        changed[rng.randrange(len(words))] = rng.choice(WORDS)
        report = parse(" ".join(changed))
        if report.grammatical and not report.consistent:
            return " ".join(changed)


test_answers = answers.test()
