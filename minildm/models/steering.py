"""Wishes about words: terminal costs of a text on its way, whose gradient bends the place where its
latents should end.

By Bayes' rule p(z_1 | z_t, wish) ~ p(z_1 | z_t) P(wish | z_1); on the path z_t = a z_1 + b z_0 with
Gaussian z_0 this moves the mean of z_1 by b^2/a grad log P(wish | z_t). A model knows P only
approximately: it lets words be independent given z_t. Where words are drawn, Bayes' rule tilts
their laws instead.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..transport.schedules import Schedule, expand
from .base import Generation

Wish = Callable[
    [Float[Tensor, "b n words"]], Float[Tensor, " b"]
]  # log p_i(w) -> terminal cost -log P(wish), in nats
Look = Callable[[Tensor], tuple[Tensor, Tensor]]  # z_t -> (z_hat, logits of the words)
NEAR_NOISE = 0.05  # least a that the shift divides by
LEAST = 1e-30  # probability that a logarithm is taken of


def says(word: int) -> Wish:
    """The wish that a word be said, anywhere: Phi = -log(1 - prod_i (1 - p_i(word))).

    Args:
        word: Its id.

    Returns:
        A `Wish`.
    """

    def cost(log_p: Float[Tensor, "b n words"]) -> Float[Tensor, " b"]:
        silent = torch.log1p(-log_p[..., word].exp().clamp(max=1 - 1e-6)).sum(1)
        return -torch.log(-torch.expm1(silent.clamp(max=-1e-6)))

    return cost


def bend(
    look: Look,
    wish: Wish,
    strength: float,
    schedule: Schedule,
    z: Float[Tensor, "b m d"],
    t: Float[Tensor, "..."],
) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b n words"]]:
    """Where latents should end when a wish is to come true: z_hat - strength b^2/a grad_z Phi.

    Args:
        look: Of a model.
        wish: Phi.
        strength: 1 for Bayes' rule.
        schedule: Of a and b.
        z: (b, m, d).
        t: (b,) or (b, m).

    Returns:
        The bent z_hat and the logits.

    Source: diffusion posterior sampling 2209.14687.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        clean, logits = look(z)
        push = torch.autograd.grad(wish(logits.log_softmax(-1)).sum(), z)[0]
    a, b = expand(schedule.a(t), z), expand(schedule.b(t), z)
    return clean.detach() - strength * b**2 / a.clamp(min=NEAR_NOISE) * push, logits.detach()


def tilt(wish: Wish, log_p: Float[Tensor, "b n words"]) -> Float[Tensor, "b n words"]:
    """What one word would do for a wish: log P(wish | w_i = w) - log P(wish), where words are
    independent.

    P is affine in the law p_i of each word, so P(wish | w_i = w) = P + dP/dp_i(w) - sum_v p_i(v)
    dP/dp_i(v)

    Args:
        wish: Phi = -log P, affine in this sense.
        log_p: (b, n, words).

    Returns:
        Nats (b, n, words).

    Derived in chapter 13. Source: ours; twisted laws as in 2404.17546.
    """
    with torch.enable_grad():
        p = log_p.exp().detach().requires_grad_()
        chance = torch.exp(-wish(p.clamp(min=LEAST).log()))
        slope = torch.autograd.grad(chance.sum(), p)[0]
    chance = chance.detach()[:, None, None]
    given = chance + slope - (p.detach() * slope).sum(-1, keepdim=True)
    return given.clamp(min=LEAST).log() - chance.clamp(min=LEAST).log()


def comes_true(wish: Wish, tokens: Int[Tensor, "b n"], vocabulary: int) -> Bool[Tensor, " b"]:
    """Whether texts fulfill a wish: P(wish | w) > 1/2, where the law of each word is certain.

    Args:
        wish: The terminal cost.
        tokens: w (b, n).
        vocabulary: The number of words.

    Returns:
        (b,).
    """
    return wish(F.one_hot(tokens, vocabulary).float().clamp(min=LEAST).log()) < math.log(2)


def insist(
    write: Callable[[int], Generation], count: int, wish: Wish, tries: int, vocabulary: int
) -> Generation:
    """Write texts, and write anew those in which a wish did not come true: a share h a try becomes 1 - (1 - h)^tries.

    What is kept has the law of `write` given the wish, as in rejection sampling, but for texts that never fulfilled it.
    Args: `write`, a count -> `Generation`; `count`; `wish`; `tries` of each text; `vocabulary`. Returns the texts, and the
    calls and seconds of all tries. Derived in chapter 13. Source: textbook.
    """
    made = write(count)
    for _ in range(tries - 1):
        left = ~comes_true(wish, made.tokens, vocabulary)
        if not left.any():
            break
        more = write(int(left.sum()))
        made.tokens[left] = more.tokens
        if made.trajectory:
            for name in ("states", "clean", "tokens", "confidence"):
                getattr(made.trajectory, name)[:, left] = getattr(more.trajectory, name)
        made.calls, made.seconds = made.calls + more.calls, made.seconds + more.seconds
    return made
