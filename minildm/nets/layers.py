"""Layers that all networks share: rotary positions, attention, feed-forward, time features."""

import math
import operator
from functools import reduce

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor

from .cache import Cache


def rotary_angles(positions: Real[Tensor, " n"], head_dim: int) -> Float[Tensor, "2 n half"]:
    """Cosine and sine of the angles by which rotary positions turn each pair of channels.

    theta_k(p) = p 10000^(-2k / head_dim)

    Args:
        positions: (n,), real numbers, in tokens.
        head_dim: Channels of a head, an even number.

    Returns:
        Cosines and sines, (2, n, head_dim/2).

    Derived in chapter 11.
    """
    exponents = torch.arange(0, head_dim, 2, device=positions.device, dtype=torch.float32)
    angles = positions.float()[:, None] * 10_000.0 ** (-exponents / head_dim)
    return torch.stack((angles.cos(), angles.sin()))


def rotate(
    x: Float[Tensor, "*batch n head_dim"], angles: Float[Tensor, "2 n half"]
) -> Float[Tensor, "*batch n head_dim"]:
    """Turn each pair of channels (k, k + head_dim/2) by the angle of its position.

    (x_k, x_k') -> (x_k cos - x_k' sin, x_k sin + x_k' cos)

    Args:
        x: (..., n, head_dim).
        angles: Cosines and sines, (2, n, head_dim/2).

    Returns:
        The turned channels, in the shape of `x`.

    Derived in chapter 11.
    """
    cos, sin = angles.to(x.dtype)
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x1 * sin + x2 * cos), dim=-1)


def time_features(t: Float[Tensor, "*batch"], channels: int) -> Float[Tensor, "*batch channels"]:
    """Sines and cosines of time at frequencies from 1 to 1000 radians a unit of time.

    Args:
        t: Time in [0, 1], in any shape.
        channels: How many features, an even number.

    Returns:
        Features (..., channels).
    """
    rates = torch.logspace(0, 3, channels // 2, device=t.device, dtype=torch.float32)
    angles = t.float()[..., None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class RMSNorm(nn.RMSNorm):
    """x / RMS(x) times a gain, in the precision of x, which keeps the fused kernel in autocast."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype) if self.elementwise_affine else None
        return F.rms_norm(x, self.normalized_shape, weight)


def causal_bias(scores: Float[Tensor, "*batch n m"]) -> Float[Tensor, "n m"]:
    """What to add to scores to hide later rows: -inf where j > i, for the last n of m rows."""
    n, m = scores.shape[-2:]
    hidden = torch.full((n, m), -torch.inf, dtype=scores.dtype, device=scores.device)
    return hidden.triu(1 + m - n)


def local_bias(
    readers: Real[Tensor, " n"], positions: Real[Tensor, " m"], reach: int
) -> Float[Tensor, "n m"]:
    """What to add to scores so that a row reads only what is near, -inf where |p_i - p_j| > reach.

    Args:
        readers: Where the reading rows stand (n,), in tokens.
        positions: Where the rows stand that are read (m,), in tokens.
        reach: Largest distance that is read, in tokens.

    Returns:
        0 and -inf, (n, m).
    """
    far = (readers[:, None] - positions).abs() > reach
    return torch.zeros(far.shape, device=far.device).masked_fill(far, -torch.inf)


def attend(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m e"],
    causal: bool = False,
    bias: Float[Tensor, "#b #h n m"] | None = None,
) -> Float[Tensor, "b h n e"]:
    """Softmax attention, y_i = sum_j softmax_j(q_i . k_j / sqrt d + b_ij) v_j.

    It calls PyTorch's fused kernel, except for training in bfloat16 on a CPU, where the backward
    pass of the kernel is several times slower than the formula (`benchmarks/attention.py`).

    Args:
        q: Queries (b, h, n, d).
        k: Keys (b, h, m, d).
        v: Values (b, h, m, e).
        causal: Whether only j <= i counts.
        bias: b (b, h, n, m), where 1 stands for the same in all texts or heads; or none.

    Returns:
        y (b, h, n, e).
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        if bias is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        bias = bias + causal_bias(bias) if causal else bias
        return F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype))
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if causal:
        scores = scores + causal_bias(scores)
    return scores.softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Softmax attention of a stream to itself, or to itself and a context.

    With a context, which has projections of its own, the queries are the stream's and the keys and
    values are of both, so one layer reads and mixes. Queries and keys are RMS-normalized per head
    when `norm` is set.
    """

    def __init__(self, d_model: int, n_heads: int, context: bool = False, norm: bool = False):
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.kv = nn.Linear(d_model, 2 * d_model, bias=False) if context else None
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.norm = (
            nn.ModuleList([RMSNorm(self.head_dim), RMSNorm(self.head_dim)]) if norm else None
        )

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        context: tuple[Tensor, Tensor] | None = None,
        causal: bool = False,
        cache: Cache | None = None,
        bias: Float[Tensor, "n m"] | None = None,
    ) -> Tensor:
        """The mixed stream; `context` is a pair of rows and the angles of their positions.

        `bias` is added to the scores of the stream's rows, then of the context's.
        """
        q, k, v = self.split(self.qkv(x), 3)
        if self.norm is not None:
            q = self.norm[0](q)
            k = self.norm[1](k)
        q = rotate(q, angles)
        k = rotate(k, angles)
        if self.kv is not None and context is not None:
            context_k, context_v = self.split(self.kv(context[0]), 2)
            if self.norm is not None:
                context_k = self.norm[1](context_k)
            k = torch.cat((k, rotate(context_k, context[1])), dim=2)
            v = torch.cat((v, context_v), dim=2)
        if cache is not None:
            k, v = cache.extend(k, v)
            causal = causal and x.shape[1] > 1
        bias = None if bias is None else bias[None, None]
        return self.out(rearrange(attend(q, k, v, causal, bias), "b h n d -> b n (h d)"))

    def split(self, x: Float[Tensor, "b n channels"], count: int) -> Float[Tensor, "c b h n d"]:
        """Cut channels into `count` parts of `n_heads` heads each."""
        return rearrange(x, "b n (c h d) -> c b h n d", c=count, h=self.n_heads)


class FeedForward(nn.Sequential):
    """Two linear maps with a GELU between them, and four times as many channels inside."""

    def __init__(self, d_model: int):
        super().__init__(
            nn.Linear(d_model, 4 * d_model, bias=False),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * d_model, d_model, bias=False),
        )


class ShortConvolution(nn.Module):
    """Each channel of a position mixed with its neighbors, so that attention can match pairs.

    y_i = sum_k m_k * x_{i+k},  k = -before..after

    m_0 starts at 1 and the others at 0; beyond the ends stand zeros. It is causal if `after` is 0.
    Derived in chapter 11. Source: short convolutions of H3 and Mamba, Canon layers.
    """

    def __init__(self, d_model: int, before: int, after: int):
        super().__init__()
        self.before = before
        self.after = after
        self.kernel = nn.Parameter(torch.zeros(before + 1 + after, d_model))
        nn.init.ones_(self.kernel[before])

    def forward(
        self,
        x: Float[Tensor, "*batch n d_model"],
        attention_mask: Bool[Tensor, "batch r n"] | None = None,
        positions: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "*batch r d_model"]:
        """The mixed rows: all of them, or the last r, whose neighbors are what the mask shows.

        Args:
            x: (..., n, d_model).
            attention_mask: Which of n rows each of the last r reads, (batch, r, n).
            positions: Where the n rows stand, (n,), in tokens; needed with a mask.

        Returns:
            (..., n, d_model), or (batch, r, d_model) with a mask.
        """
        if attention_mask is None or positions is None:
            padded = F.pad(x, (0, 0, self.before, self.after))
            terms = (m * padded.narrow(-2, k, x.shape[-2]) for k, m in enumerate(self.kernel))
        else:
            offsets = positions - positions[-attention_mask.shape[1] :, None]
            terms = (
                m * ((attention_mask & (offsets == k)).to(x.dtype) @ x)
                for k, m in enumerate(self.kernel, -self.before)
            )
        return reduce(operator.add, terms)


def init_weights(module: nn.Module, n_layers: int) -> None:
    """Draw matrices with std 0.02, and those that end a residual branch with 0.02 / sqrt(2 layers).

    The kernels of short convolutions stay as they are.

    Args:
        module: Whose weights are drawn.
        n_layers: How many blocks its residual stream adds up.

    Derived in chapter 16. Source: GPT-2.
    """
    for name, p in module.named_parameters():
        if p.dim() == 2 and not name.endswith("kernel"):
            ends_branch = name.endswith(("out.weight", "feed_forward.2.weight"))
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * n_layers) if ends_branch else 0.02)
