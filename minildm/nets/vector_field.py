"""The policy's network: integral operators over a text with a noise level a position."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn as nn
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .cache import Cache, FieldCache
from .layers import FeedForward, RMSNorm, ShortConvolution, init_weights, time_features
from .operators import Weights, make_operator

HIDDEN = -1e4  # score of a hidden position: finite, so that a row without others has no nan


class OperatorBlock(nn.Module):
    """Pre-norm residual block with an integral operator in place of attention."""

    def __init__(self, d_model: int, n_heads: int, kernel: str):
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.norm2 = RMSNorm(d_model)
        self.operator = make_operator(kernel, d_model, n_heads)
        self.feed_forward = FeedForward(d_model)

    def forward(
        self, x: Tensor, positions: Tensor, weights: Weights | None, cache: Cache | None = None
    ) -> Tensor:
        x = x + self.operator(self.norm1(x), positions, weights, cache)
        return x + self.feed_forward(self.norm2(x))


class Pointer(nn.Module):
    """Scores for tokens that stand elsewhere in the text: an operator whose values are posteriors.

    s_i = sum_h g_h(x_i) sum_{j != i} kappa_h(i, j) p_j

    kappa_h is softmax attention by content alone, over the j that the mask of i allows; with
    `causal` over j <= i in place of j != i.
    Derived in chapter 13. Source: Pointer Networks 1506.03134.
    """

    def __init__(self, d_model: int, n_heads: int, causal: bool):
        super().__init__()
        self.n_heads = n_heads
        self.causal = causal
        self.query_key = nn.Linear(d_model, 2 * d_model, bias=False)
        self.gain = nn.Linear(d_model, n_heads)

    def forward(
        self,
        x: Float[Tensor, "b n d_model"],
        posterior: Float[Tensor, "b n vocab_size"],
        attention_mask: Bool[Tensor, "b n m"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b n vocab_size"]:
        """Scores of all tokens at all rows.

        Args:
            x: Features (b, n, d_model).
            posterior: p (b, n, vocab_size), what each state alone says of its token.
            attention_mask: Which of m rows each of the last n reads, (b, n, m); all if left out.
            cache: Keys and posteriors of the m - n earlier rows.

        Returns:
            s (b, n, vocab_size).
        """
        pair = rearrange(self.query_key(x), "b n (two h d) -> two b h n d", two=2, h=self.n_heads)
        q, k = pair
        posterior = posterior.to(self.gain.weight.dtype)
        if cache is not None:
            k, posterior = cache.extend(k, posterior)
        n, m = x.shape[1], posterior.shape[1]
        pairs = torch.ones(n, m, dtype=torch.bool, device=x.device)
        hidden = pairs.triu(1 + m - n) if self.causal else pairs.triu(m - n).tril(m - n)
        if attention_mask is not None:
            hidden = (hidden | ~attention_mask)[:, None]
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(hidden, HIDDEN)
        kappa = scores.softmax(-1).masked_fill(hidden, 0.0)
        return (self.gain(x).mT[..., None] * kappa).sum(1) @ posterior


@dataclass(frozen=True)
class Context:
    """Which rows the rows of a text read: the last n of m, at positions that may repeat."""

    attention_mask: Bool[Tensor, "b n m"]  # whether row i reads row j
    positions: Int[Tensor, " m"]  # in tokens
    gaps: Int[Tensor, "b n"] | None = None  # how many tokens before it each row cannot read


@dataclass(frozen=True)
class VectorFieldConfig:
    """Sizes of a vector field."""

    latent: int  # channels of a state
    vocab_size: int  # tokens
    d_model: int  # channels inside
    n_heads: int  # attention heads, or kernels of the operator
    n_layers: int  # blocks
    kernel: str = "attention"  # of the operators, a name of KERNELS
    max_gap: int = 0  # gaps below it have vectors of their own; 0: gaps do not enter
    pointer: bool = True  # whether tokens of the text are also scored by where they stand


class VectorField(nn.Module):
    """Features of every position of a noisy text, from which a policy predicts its end point.

    What enters is the state, what it alone says of its token, the noise level of the position, and
    a self-condition; so noisy and finished positions can stand side by side.
    """

    def __init__(self, config: VectorFieldConfig):
        super().__init__()
        c = config
        causal = c.kernel == "causal"
        self.checkpointing = False
        self.in_proj = nn.Linear(2 * c.latent, c.d_model)
        self.token_embedding = nn.Linear(c.vocab_size, c.d_model, bias=False)
        first = nn.Linear(c.d_model, c.d_model)
        second = nn.Linear(c.d_model, c.d_model)
        self.time = nn.Sequential(first, nn.SiLU(), second)
        self.conv = ShortConvolution(c.d_model, before=3, after=0 if causal else 3)
        self.blocks = nn.ModuleList(
            OperatorBlock(c.d_model, c.n_heads, c.kernel) for _ in range(c.n_layers)
        )
        self.norm = RMSNorm(c.d_model)
        self.pointer = Pointer(c.d_model, c.n_heads, causal) if c.pointer else None
        init_weights(self, c.n_layers)
        if self.pointer is not None:
            nn.init.constant_(self.pointer.gain.bias, 2.0)
        nn.init.normal_(self.token_embedding.weight, std=c.d_model**-0.5)
        self.gap_embedding = nn.Parameter(torch.zeros(c.max_gap, c.d_model)) if c.max_gap else None
        for layer, size in ((self.in_proj, 0.3), (first, 1.0), (second, 1.0)):
            nn.init.normal_(layer.weight, std=size * layer.in_features**-0.5)

    def forward(
        self,
        zt: Float[Tensor, "b n latent"],
        t: Float[Tensor, "b n"],
        c: Float[Tensor, "b n latent"],
        posterior: Float[Tensor, "b n vocab_size"],
        context: Context | None = None,
        cache: FieldCache | None = None,
    ) -> Float[Tensor, "b n d_model"]:
        """Features of the rows.

        Args:
            zt: States (b, n, latent).
            t: Their noise levels (b, n), 1 where a position is finished.
            c: Self-condition (b, n, latent).
            posterior: p (b, n, vocab_size), what each state alone says of its token.
            context: Which rows each row reads; all rows of the text if left out.
            cache: Of the m - n rows before these.

        Returns:
            Features (b, n, d_model).
        """
        dtype = self.in_proj.weight.dtype
        x = self.token_embedding(posterior.to(dtype)) * len(self.token_embedding.weight) ** 0.5
        x = x + self.in_proj(torch.cat((zt, c), dim=-1).to(dtype))
        features = time_features(t.flatten(), x.shape[-1]).unflatten(0, t.shape)
        x = x + self.time(features.to(dtype))
        if self.gap_embedding is not None and context is not None and context.gaps is not None:
            x = x + self.gap_embedding[context.gaps.clamp(0, len(self.gap_embedding) - 1)]
        caches: Sequence[Cache | None] = [None] * len(self.blocks)
        if cache is not None:
            x = cache.inputs.extend(x)[0]
            caches = cache.blocks
        if context is None:
            x = self.conv(x)
            positions = torch.arange(zt.shape[1], device=zt.device)
            weights = None
        else:
            x = self.conv(x, context.attention_mask, context.positions)
            positions = context.positions[-zt.shape[1] :]
            weights = context.attention_mask.float()
        for block, block_cache in zip(self.blocks, caches):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, positions, weights, use_reentrant=False)
            else:
                x = block(x, positions, weights, block_cache)
        return self.norm(x)

    def scores(
        self,
        x: Float[Tensor, "b n d_model"],
        posterior: Float[Tensor, "b n vocab_size"],
        context: Context | None = None,
        cache: FieldCache | None = None,
    ) -> Float[Tensor, "b n vocab_size"]:
        """How well each token fits each position, by its embedding and by where it stands.

        Args:
            x: Features (b, n, d_model).
            posterior: p (b, n, vocab_size), what each state alone says of its token.
            context: Which rows each row reads; all rows of the text if left out.
            cache: Of the m - n rows before these.

        Returns:
            Scores (b, n, vocab_size), in nats.
        """
        by_embedding = x @ self.token_embedding.weight
        if self.pointer is None:
            return by_embedding
        mask = None if context is None else context.attention_mask
        return by_embedding + self.pointer(x, posterior, mask, cache and cache.pointer)
