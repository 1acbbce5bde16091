"""The policy's network: integral operators over a text whose positions each have a time of their
own.
"""

from itertools import repeat

import torch
import torch.nn as nn
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .cache import Cache
from .layers import FeedForward, RMSNorm, ShortConvolution, init_weights, time_features
from .operators import Weights, make_operator

NEVER = -1e4  # the score of what is not seen: finite, so that who sees nothing points nowhere


class OperatorBlock(nn.Module):
    """Pre-norm residual block with an integral operator: z + K(norm z), then z + FeedForward(norm
    z).
    """

    def __init__(self, width: int, heads: int, kernel: str):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.operator, self.feed_forward = make_operator(kernel, width, heads), FeedForward(width)

    def forward(
        self, x: Tensor, positions: Tensor, weights: Weights | None, cache: Cache | None = None
    ) -> Tensor:
        x = x + self.operator(self.norm1(x), positions, weights, cache)
        return x + self.feed_forward(self.norm2(x))


class Pointer(nn.Module):
    """Words that stand elsewhere in the text, as scores here: an integral operator whose values are beliefs about words.

    s_i = sum_h g_h(x_i) sum_{j != i} kappa_h(i, j) belief_j,  kappa_h softmax attention by content alone, over j that i sees
    Args: `width`; `heads` h; `causal`: j <= i in place of j != i. Derived in chapter 13. Source: Pointer Networks 1506.03134.
    """

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query_key, self.gain = nn.Linear(width, 2 * width, bias=False), nn.Linear(width, heads)

    def forward(
        self,
        x: Float[Tensor, "b n width"],
        belief: Float[Tensor, "b n words"],
        sees: Bool[Tensor, "b n m"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b n words"]:
        q, k = rearrange(self.query_key(x), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        belief = belief.to(self.gain.weight.dtype)
        if cache is not None:
            k, belief = cache.extend(k, belief)
        n, m = x.shape[1], belief.shape[1]
        all_pairs = torch.ones(n, m, dtype=torch.bool, device=x.device)
        unseen = all_pairs.triu(1 + m - n) if self.causal else all_pairs.triu(m - n).tril(m - n)
        if sees is not None:
            unseen = (unseen | ~sees)[:, None]
        kappa = (
            (q @ k.mT * q.shape[-1] ** -0.5)
            .masked_fill(unseen, NEVER)
            .softmax(-1)
            .masked_fill(unseen, 0.0)
        )
        return (self.gain(x).mT[..., None] * kappa).sum(1) @ belief


class Past:
    """What a field keeps of the first words of texts, which see no noise and so never change:
    inputs, keys, values, beliefs.
    """

    def __init__(self, layers: int, length: int):
        self.entered, self.pointer, *self.blocks = (Cache(length) for _ in range(layers + 2))

    @property
    def words(self) -> int:
        """How many positions are kept."""
        return self.entered.filled

    def keep(self, words: int) -> None:
        """Of the positions that are read next, keep those before `words`."""
        for cache in (self.entered, self.pointer, *self.blocks):
            cache.keep = words - self.words


class VectorField(nn.Module):
    """Features of every position of a text on its way, from which a policy reads where the position
    should end.

    What enters is the state, what it alone says of its word, the position's own time, and a
    self-condition; so noisy and finished positions can stand side by side.

    Args:
        latent: Channels of a state.
        words: Of the vocabulary.
        gaps: That are told apart, a gap being how many words before it a position cannot see.
        pointer: : whether it also scores words.
    """

    def __init__(
        self,
        latent: int,
        words: int,
        width: int,
        heads: int,
        layers: int,
        kernel: str,
        gaps: int = 0,
        pointer: bool = True,
    ):
        super().__init__()
        self.checkpointing = False
        self.enter, self.words = nn.Linear(2 * latent, width), nn.Linear(words, width, bias=False)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.mix = ShortConvolution(width, before=3, after=0 if kernel == "causal" else 3)
        self.blocks = nn.ModuleList(OperatorBlock(width, heads, kernel) for _ in range(layers))
        self.norm, self.pointer = (
            RMSNorm(width),
            Pointer(width, heads, kernel == "causal") if pointer else None,
        )
        init_weights(self, layers)
        if pointer:
            nn.init.constant_(self.pointer.gain.bias, 2.0)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.gap = nn.Parameter(torch.zeros(gaps, width)) if gaps else None
        for layer, size in ((self.enter, 0.3), (self.time[0], 1.0), (self.time[2], 1.0)):
            nn.init.normal_(layer.weight, std=size * layer.in_features**-0.5)

    def forward(
        self,
        zt: Float[Tensor, "b n latent"],
        t: Float[Tensor, "b n"],
        c: Float[Tensor, "b n latent"],
        belief: Float[Tensor, "b n words"],
        weights: Weights | None = None,
        sees: Bool[Tensor, "b n m"] | None = None,
        positions: Int[Tensor, " m"] | None = None,
        past: Past | None = None,
        gap: Int[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n width"]:
        """Features (b, n, width). `weights` of the operators; or who `sees` whom, where rows stand
        at given `positions`.

        `gap`: how many words before it each row cannot see. With a `past` the rows are those behind
        what it keeps, and m counts both.
        """
        dtype = self.enter.weight.dtype
        features = (
            time_features(t.flatten(), self.time[0].in_features).unflatten(0, t.shape).to(dtype)
        )
        words = self.words(belief.to(dtype)) * len(self.words.weight) ** 0.5
        state = self.enter(torch.cat((zt, c), dim=-1).to(dtype))
        if positions is None:
            positions = torch.arange(zt.shape[1], device=zt.device)
        x = words + state + self.time(features)
        if self.gap is not None:
            x = x + self.gap[gap.clamp(0, len(self.gap) - 1)]
        x = self.mix(x if past is None else past.entered.extend(x)[0], sees, positions)
        positions, weights = positions[-zt.shape[1] :], weights if sees is None else sees.float()
        for block, cache in zip(self.blocks, repeat(None) if past is None else past.blocks):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, positions, weights, use_reentrant=False)
            else:
                x = block(x, positions, weights, cache)
        return self.norm(x)

    def scores(
        self,
        x: Float[Tensor, "b n width"],
        belief: Float[Tensor, "b n words"],
        sees: Bool[Tensor, "b n m"] | None = None,
        past: Past | None = None,
    ) -> Float[Tensor, "b n words"]:
        """How well each word fits each position: features against the vectors of words, and words
        from where it sees.
        """
        return x @ self.words.weight + self.pointer(x, belief, sees, past and past.pointer)
