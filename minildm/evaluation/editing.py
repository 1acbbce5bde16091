"""Changing texts that exist: planted gaps and damage, what each model does about them, and how
well.
"""

import random

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.base import PAD, LanguageModel, nucleus
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.manta import Manta
from ..models.masked import MASK, Masked
from ..text import tokenizers

DOUBTFUL = 5.0  # nats above which a word is written anew
NEARLY = 0.92  # share of the steps after which an LDLM's guess is asked about the words of a text
SPECIALS = len(tokenizers.SPECIALS)  # ids below this stand for no word


def gaps(tokens: Int[Tensor, "b n"], share: float, rng: random.Random) -> Bool[Tensor, "b n"]:
    """One gap in each text: a span of a share of its words, somewhere.

    Args:
        tokens: Token ids (batch, length).
        share: In (0, 1).
        rng: Generator of the random numbers.

    Returns:
        A mask, true in the gap.
    """
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    for row, text in zip(mask, tokens):
        words = int((text >= SPECIALS).sum())
        width = max(round(share * words), 1)
        first = 1 + rng.randrange(words - width + 1)
        row[first : first + width] = True
    return mask


def damage(
    tokens: Int[Tensor, "b n"], share: float, words: int, rng: random.Random
) -> Int[Tensor, "b n"]:
    """Texts with a share of their words replaced by other words, all alike likely.

    Args: `tokens`; `share`; `words`, ids from SPECIALS to this are words; `rng`. Returns tokens. Derived in chapter 13.
    Source: ours.
    """
    tokens = tokens.clone()
    for row in tokens:
        places = (row >= SPECIALS).nonzero()[:, 0].tolist()
        for i in rng.sample(places, max(round(share * len(places)), 1)):
            row[i] = SPECIALS + (int(row[i]) - SPECIALS + rng.randrange(1, words - SPECIALS)) % (
                words - SPECIALS
            )
    return tokens


@torch.no_grad()
def fill_from_left(
    model: GPT,
    tokens: Int[Tensor, "b n"],
    mask: Bool[Tensor, "b n"],
    rng: torch.Generator,
    temperature: float = 1.0,
) -> Int[Tensor, "b n"]:
    """What a left-to-right model can do about gaps: draw each missing word from what stands before it, w_i ~ p(. | w_<i).

    Args: `model`; `tokens`; `mask`, true at words to be written; `rng`; `temperature`. Returns tokens.
    Derived in chapter 13. Source: textbook.
    """
    tokens = tokens.masked_fill(mask, PAD)
    for i in mask.any(0).nonzero()[:, 0].tolist():
        law = nucleus(model.logits(tokens[:, :i])[:, -1], temperature)
        tokens[:, i] = torch.multinomial(law, 1, generator=rng)[:, 0].where(
            mask[:, i], tokens[:, i]
        )
    return tokens


@torch.no_grad()
def doubts(
    model: LanguageModel, tokens: Int[Tensor, "b n"], rng: torch.Generator, parts: int = 8
) -> Float[Tensor, "b n"]:
    """How surprising each word is to a model: -log p(w_i | the words that are shown), in nats.

    A GPT is shown what stands before, in one call; a masked model and a Manta-LM all but every
    `parts`-th word, in as many calls. An LDLM is shown the text's latents under a little noise,
    `parts` times: they say each word, but its guess of them says what fits. Args: `model`, one of
    these; `tokens`; `rng`; `parts`.

    Returns:
        Nats (b, n), 0 at the first token and at padding.
    """
    nats = torch.zeros(tokens.shape)
    if isinstance(model, GPT):
        nats[:, 1:] = model.token_nats(tokens)
        return nats
    if isinstance(model, LDLM):
        nats = (
            sum(word_nats(model.second_look(tokens, NEARLY, rng), tokens) for _ in range(parts))
            / parts
        )
    for part in range(parts) if isinstance(model, Masked | Manta) else ():
        hidden = (torch.arange(tokens.shape[1]) % parts == part).expand_as(tokens)
        if isinstance(model, Masked):
            logits = model.logits(tokens.masked_fill(hidden, MASK))
        else:
            z = model.space.encode(tokens, rng)
            z = torch.randn(z.shape, generator=rng).where(hidden[..., None], z)
            logits = model.predict(z, (~hidden).float(), torch.zeros_like(z))[1]
        nats = word_nats(logits, tokens).where(hidden, nats)
    nats[:, 0] = 0
    return nats.masked_fill(tokens == PAD, 0)


def word_nats(
    logits: Float[Tensor, "b n words"], tokens: Int[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    """Nats of each word, -log p_i(w_i).

    Args:
        logits: Of words.
        tokens: Token ids (batch, length).

    Returns:
        Nats (b, n).
    """
    return F.cross_entropy(logits.mT, tokens, reduction="none")


def outcome(
    before: Int[Tensor, "b n"], after: Int[Tensor, "b n"], truth: Int[Tensor, "b n"]
) -> dict[str, float]:
    """What became of words: those that were right and still are, and those that were wrong and are
    right now.

    Args:
        before, after: A repair, and the `truth`.

    Returns:
        Shares "kept" and "restored".
    """
    right, same = before == truth, after == truth
    words = truth >= SPECIALS
    return {
        "kept": (same & right & words).sum().item() / max((right & words).sum().item(), 1),
        "restored": (same & ~right).sum().item() / max((~right).sum().item(), 1),
    }
