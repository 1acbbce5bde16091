"""Editing texts: planted gaps and damage, and how well a model fills and repairs them."""

import random

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..dynamics.solvers import integrate
from ..models.base import LanguageModel
from ..models.generation import GenerationConfig
from ..sampling.config import complete
from ..sampling.process import Request, process_of
from ..tokens import NUM_SPECIALS, PAD

HIGH_NLL = 5.0  # nats above which a token is written anew


def gaps(tokens: Int[Tensor, "b n"], fraction: float, rng: random.Random) -> Bool[Tensor, "b n"]:
    """One gap in each text: a span of a fraction of its words, at a random place.

    Args:
        tokens: Token ids (batch, length).
        fraction: In (0, 1).
        rng: Generator of the random numbers.

    Returns:
        A mask, true in the gap.
    """
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, text in zip(mask, tokens):
        words = int((text >= NUM_SPECIALS).sum())
        width = max(round(fraction * words), 1)
        first = 1 + rng.randrange(words - width + 1)
        row[first : first + width] = True
    return mask


def damage(
    tokens: Int[Tensor, "b n"], fraction: float, words: int, rng: random.Random
) -> Int[Tensor, "b n"]:
    """Texts with a fraction of their words replaced by other words, drawn evenly.

    Args:
        tokens: (b, n) ids.
        fraction: Of the words of each text.
        words: Ids from NUM_SPECIALS to this are words.
        rng: Generator of the places and words.

    Returns:
        Tokens (b, n).
    """
    tokens = tokens.clone()
    for row in tokens:
        places = (row >= NUM_SPECIALS).nonzero()[:, 0].tolist()
        for i in rng.sample(places, max(round(fraction * len(places)), 1)):
            shift = rng.randrange(1, words - NUM_SPECIALS)
            row[i] = NUM_SPECIALS + (int(row[i]) - NUM_SPECIALS + shift) % (words - NUM_SPECIALS)
    return tokens


@torch.no_grad()
def fill_from_left(
    model: LanguageModel,
    tokens: Int[Tensor, "b n"],
    observed: Bool[Tensor, "b n"],
    rng: torch.Generator,
    temperature: float = 1.0,
) -> Int[Tensor, "b n"]:
    """Gaps filled by a GPT, which draws each token from what stands before it, w_i ~ p(. | w_<i).

    Args:
        model: A GPT.
        tokens: (b, n).
        observed: Where tokens are given.
        rng: Generator of the tokens.
        temperature: Of the distributions.

    Returns:
        Tokens (b, n).
    """
    config = complete(GenerationConfig(length=tokens.shape[1], temperature=temperature), model)
    given = tokens.where(observed, PAD)
    process = process_of(model, Request(config, given, observed.clone(), rng))
    path = integrate(process.policy, process.start, process.times, process.step, record=False)
    return path.states[-1]


def outcome(
    before: Int[Tensor, "b n"], after: Int[Tensor, "b n"], truth: Int[Tensor, "b n"]
) -> dict[str, float]:
    """What a repair did: words that were right and still are, and words that are right again.

    Args:
        before: Tokens before the repair.
        after: Tokens after it.
        truth: Tokens of the undamaged texts.

    Returns:
        Fractions "kept" and "restored".
    """
    right = before == truth
    same = after == truth
    words = truth >= NUM_SPECIALS
    return {
        "kept": (same & right & words).sum().item() / max((right & words).sum().item(), 1),
        "restored": (same & ~right).sum().item() / max((~right).sum().item(), 1),
    }
