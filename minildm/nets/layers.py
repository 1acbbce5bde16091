"""Layers that every network of the book shares: rotary positions, attention, feed-forward, time
features.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor


def rotary_angles(
    positions: Real[Tensor, " n"], head: int, base: float = 10_000.0
) -> Float[Tensor, "2 n half"]:
    """Cosine and sine of the angles by which rotary positions turn each pair of channels.

    theta_k(p) = p base^(-2k/head)
    Args: `positions` (n,), real numbers, in tokens; `head`, width of a head, even; `base`.
    Returns (2, n, head/2): cosines, sines. Derived in chapter 11. Source: ours.
    """
    rates = base ** (-torch.arange(0, head, 2, device=positions.device, dtype=torch.float32) / head)
    angles = positions.float()[:, None] * rates
    return torch.stack((angles.cos(), angles.sin()))


def rotate(
    x: Float[Tensor, "*batch n head"], angles: Float[Tensor, "2 n half"]
) -> Float[Tensor, "*batch n head"]:
    """Turn each pair of channels (k, k + head/2) by the angle of its position.

    (x_k, x_k') -> (x_k cos - x_k' sin, x_k sin + x_k' cos)

    Args:
        x: (..., n, head).
        angles: (2, n, head/2).

    Returns:
        The shape of `x`.

    Derived in chapter 11.
    """
    cos, sin = angles.to(x.dtype)
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((x1 * cos - x2 * sin, x1 * sin + x2 * cos), dim=-1)


def time_features(t: Float[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Sines and cosines of time at frequencies from 1 to 1000 radians a unit of time.

    Args:
        t: (batch,), time in [0, 1].
        width: Even.

    Returns:
        (batch, width).
    """
    rates = torch.logspace(0, 3, width // 2, device=t.device, dtype=torch.float32)
    angles = t.float()[:, None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


class RMSNorm(nn.RMSNorm):
    """x / RMS(x) times a gain, computed in the input's own precision, which keeps the fused kernel
    under autocast.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(
            x, self.normalized_shape, self.weight.to(x.dtype) if self.elementwise_affine else None
        )


def before(scores: Float[Tensor, "*batch n m"]) -> Float[Tensor, "n m"]:
    """What to add to scores so that nobody sees what comes after, -inf where j > i; readers are the
    last n of m rows.
    """
    n, m = scores.shape[-2:]
    return torch.full((n, m), -torch.inf, dtype=scores.dtype, device=scores.device).triu(1 + m - n)


def attend(
    q: Float[Tensor, "b h n d"],
    k: Float[Tensor, "b h m d"],
    v: Float[Tensor, "b h m e"],
    causal: bool = False,
    bias: Float[Tensor, "b one n m"] | None = None,
) -> Float[Tensor, "b h n e"]:
    """Softmax attention, y_i = sum_j softmax_j(q_i . k_j / sqrt d + b_ij) v_j.

    PyTorch's fused kernel, except for training in bfloat16 on a CPU, where its backward pass is
    several times slower than the formula written out (`benchmarks/attention.py`).

    Args:
        q: (b, h, n, d).
        k: (b, h, m, d).
        v: (b, h, m, e).
        causal: j <= i only.
        bias: b.

    Returns:
        (b, h, n, e).
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or not torch.is_grad_enabled():
        if bias is not None and causal:
            bias, causal = bias + before(bias), False
        return F.scaled_dot_product_attention(
            q, k, v, bias if bias is None else bias.to(q.dtype), is_causal=causal
        )
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if causal:
        scores = scores + before(scores)
    return scores.softmax(-1).to(v.dtype) @ v


class Attention(nn.Module):
    """Softmax attention from a stream to itself, or to itself and a context with projections of its
    own.

    With a context the queries are the stream's and the keys and values are of both, so one layer
    reads and mixes. Queries and keys are RMS-normalized per head when `norm` is set.
    """

    def __init__(self, width: int, heads: int, context: bool = False, norm: bool = False):
        super().__init__()
        self.heads, self.head = heads, width // heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False) if context else None
        self.out = nn.Linear(width, width, bias=False)
        self.norm = nn.ModuleList([RMSNorm(self.head), RMSNorm(self.head)]) if norm else None

    def forward(
        self, x, angles, context=None, context_angles=None, causal: bool = False, cache=None
    ) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        if self.norm:
            q, k = self.norm[0](q), self.norm[1](k)
        q, k = rotate(q, angles), rotate(k, angles)
        if context is not None:
            ck, cv = rearrange(
                self.kv(context), "b n (two h d) -> two b h n d", two=2, h=self.heads
            )
            if self.norm:
                ck = self.norm[1](ck)
            k, v = torch.cat((k, rotate(ck, context_angles)), dim=2), torch.cat((v, cv), dim=2)
        if cache is not None:
            k, v = cache.extend(k, v)
            causal = causal and x.shape[1] > 1
        y = attend(q, k, v, causal)
        return self.out(rearrange(y, "b h n d -> b n (h d)"))


class FeedForward(nn.Sequential):
    """Two linear maps with a GELU between, four times as wide inside."""

    def __init__(self, width: int):
        super().__init__(
            nn.Linear(width, 4 * width, bias=False),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width, bias=False),
        )


class ShortConvolution(nn.Module):
    """Each channel of each position mixed with its neighbors, so that one attention can match pairs of words.

    y_i = sum_k m_k * x_{i+k},  k = -before..after;  m_0 starts at 1, the others at 0; zeros beyond the ends
    Args: `width`; `before`, `after`, how many neighbors on each side; none after makes it causal. Maps (batch, n, width) to
    the same; with `sees` (batch, r, n), the last r of n rows, at `positions` (n,), take what they see as neighbors. Derived
    in chapter 11. Source: short convolutions of H3 and Mamba, Canon layers.
    """

    def __init__(self, width: int, before: int, after: int):
        super().__init__()
        self.before, self.after = before, after
        self.taps = nn.Parameter(torch.zeros(before + 1 + after, width))
        nn.init.ones_(self.taps[before])

    def forward(
        self,
        x: Float[Tensor, "*batch n width"],
        sees: Bool[Tensor, "batch r n"] | None = None,
        positions: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "*batch r width"]:
        if sees is not None:
            offsets = positions - positions[-sees.shape[1] :, None]
            return sum(
                tap * ((sees & (offsets == k)).to(x.dtype) @ x)
                for k, tap in enumerate(self.taps, -self.before)
            )
        padded = F.pad(x, (0, 0, self.before, self.after))
        return sum(tap * padded.narrow(-2, k, x.shape[-2]) for k, tap in enumerate(self.taps))


def init_weights(module: nn.Module, layers: int) -> None:
    """Draw matrices with std 0.02, those that end a residual branch with 0.02 / sqrt(2 layers), and leave taps alone.

    Args: `module`; `layers` that its residual stream adds up. Returns nothing. Derived in chapter 16. Source: GPT-2.
    """
    for name, p in module.named_parameters():
        if p.dim() == 2 and not name.endswith("taps"):
            ends_branch = name.endswith(("out.weight", "feed_forward.2.weight"))
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * layers) if ends_branch else 0.02)
