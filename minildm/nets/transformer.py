"""Transformers: pre-norm stacks, causal or not, and the time-modulated one of diffusion."""

from collections.abc import Sequence

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .cache import Cache
from .layers import (
    Attention,
    FeedForward,
    RMSNorm,
    ShortConvolution,
    local_bias,
    rotary_angles,
    time_features,
)


class Block(nn.Module):
    """Pre-norm residual block: x + Attention(norm x), then x + FeedForward(norm x)."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.norm1 = RMSNorm(d_model)
        self.norm2 = RMSNorm(d_model)
        self.attention = Attention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model)

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        causal: bool = False,
        cache: Cache | None = None,
        bias: Float[Tensor, "n m"] | None = None,
    ) -> Tensor:
        x = x + self.attention(self.norm1(x), angles, causal=causal, cache=cache, bias=bias)
        return x + self.feed_forward(self.norm2(x))


class ModulatedBlock(nn.Module):
    """Residual block whose norms and branches are modulated by a condition (adaLN-Zero).

    x + g1 * Attention((1 + s1) * norm(x) + m1), then x + g2 * FeedForward((1 + s2) * norm(x) + m2)

    (s, m, g) are a linear map of the condition that is zero at the start, so that the block starts
    as the identity.
    """

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.norm = RMSNorm(d_model, elementwise_affine=False)
        self.attention = Attention(d_model, n_heads, norm=True)
        self.feed_forward = FeedForward(d_model)
        self.modulation = nn.Linear(d_model, 6 * d_model)

    def forward(self, x: Tensor, angles: Tensor, condition: Tensor) -> Tensor:
        s1, m1, g1, s2, m2, g2 = self.modulation(condition).chunk(6, dim=-1)
        x = x + g1 * self.attention(torch.addcmul(m1, self.norm(x), 1 + s1), angles)
        return x + g2 * self.feed_forward(torch.addcmul(m2, self.norm(x), 1 + s2))


class Stack(nn.Module):
    """Blocks in a row with a final norm, or only the first `depth` of them without it.

    With a `reach` each row reads only rows that are that near, in tokens.
    """

    def __init__(self, d_model: int, n_heads: int, n_layers: int):
        super().__init__()
        self.head_dim = d_model // n_heads
        self.checkpointing = False
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.norm = RMSNorm(d_model)

    def forward(
        self,
        x: Tensor,
        causal: bool = False,
        caches: Sequence[Cache] | None = None,
        start: int = 0,
        depth: int | None = None,
        reach: int | None = None,
    ) -> Tensor:
        positions = torch.arange(start, start + x.shape[1], device=x.device)
        angles = rotary_angles(positions, self.head_dim)
        bias = None if reach is None else local_bias(positions, positions, reach)
        for i, block in enumerate(self.blocks[:depth]):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, angles, causal, None, bias, use_reentrant=False)
            else:
                x = block(x, angles, causal, caches and caches[i], bias)
        return self.norm(x) if depth is None else x


class TokenDecoder(nn.Module):
    """Logits of tokens from estimated hidden states, T(h_hat)."""

    def __init__(
        self,
        hidden: int,
        d_model: int,
        n_heads: int,
        n_layers: int,
        vocab_size: int,
        reach: int | None = None,
    ):
        super().__init__()
        self.in_proj = nn.Linear(hidden, d_model)
        self.reach = reach
        self.stack = Stack(d_model, n_heads, n_layers)
        self.out_proj = nn.Linear(d_model, vocab_size)

    def forward(self, h: Float[Tensor, "b n hidden"]) -> Float[Tensor, "b n vocab_size"]:
        x = self.in_proj(h.to(self.in_proj.weight.dtype))
        return self.out_proj(self.stack(x, reach=self.reach))


class DiffusionTransformer(nn.Module):
    """Denoiser f(z_t, t, c): predicts the latent z_1 from z_t, its time, and a self-condition c.

    Positions are rotary and may be fractional, so that any number of latents can be asked for; a
    short convolution shows each of them three neighbors on either side from the first block on.
    The latents of a text have one time, or each its own.
    """

    def __init__(
        self, latent: int, d_model: int, n_heads: int, n_layers: int, spacing: float = 1.0
    ):
        super().__init__()
        self.head_dim = d_model // n_heads
        self.spacing = spacing
        self.checkpointing = False
        self.in_proj = nn.Linear(2 * latent, d_model)
        self.conv = ShortConvolution(d_model, before=3, after=3)
        self.time = nn.Sequential(
            nn.Linear(d_model, d_model), nn.SiLU(), nn.Linear(d_model, d_model), nn.SiLU()
        )
        self.blocks = nn.ModuleList(ModulatedBlock(d_model, n_heads) for _ in range(n_layers))
        self.norm = RMSNorm(d_model)
        self.out_proj = nn.Linear(d_model, latent)

    def zero(self) -> None:
        """Set what adaLN-Zero wants zero at the start: all modulations and the output map."""
        for layer in [*(block.modulation for block in self.blocks), self.out_proj]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        zt: Float[Tensor, "b m d"],
        t: Float[Tensor, " b"] | Float[Tensor, "b m"],
        c: Float[Tensor, "b m d"],
    ) -> Float[Tensor, "b m d"]:
        dtype = self.in_proj.weight.dtype
        x = self.conv(self.in_proj(torch.cat((zt, c), dim=-1).to(dtype)))
        times = t if t.dim() == 2 else t[:, None]
        condition = self.time(time_features(times, x.shape[-1]).to(dtype))
        positions = self.spacing * torch.arange(x.shape[1], device=x.device)
        angles = rotary_angles(positions, self.head_dim)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, angles, condition, use_reentrant=False)
            else:
                x = block(x, angles, condition)
        return self.out_proj(self.norm(x))
