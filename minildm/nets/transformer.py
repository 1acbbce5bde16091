"""Transformer blocks: pre-norm, causal or not, and the time-modulated block of a diffusion
transformer.
"""

import torch
import torch.nn as nn
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .layers import Attention, FeedForward, RMSNorm, ShortConvolution, rotary_angles, time_features


class Block(nn.Module):
    """Pre-norm residual block: x + Attention(norm x), then x + FeedForward(norm x)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(width), RMSNorm(width)
        self.attention, self.feed_forward = Attention(width, heads), FeedForward(width)

    def forward(self, x: Tensor, angles: Tensor, causal: bool = False, cache=None) -> Tensor:
        x = x + self.attention(self.norm1(x), angles, causal=causal, cache=cache)
        return x + self.feed_forward(self.norm2(x))


class ModulatedBlock(nn.Module):
    """Residual block whose norms are scaled and shifted, and whose branches are gated, by a
    condition (adaLN-Zero).

    x + g1 * Attention((1 + s1) * norm(x) + m1), then x + g2 * FeedForward((1 + s2) * norm(x) + m2);
    (s, m, g) are a linear map of the condition, zero at the start, so that the block starts as the
    identity.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm = RMSNorm(width, elementwise_affine=False)
        self.attention, self.feed_forward = Attention(width, heads, norm=True), FeedForward(width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x: Tensor, angles: Tensor, condition: Tensor) -> Tensor:
        s1, m1, g1, s2, m2, g2 = self.modulation(condition)[:, None].chunk(6, dim=-1)
        x = x + g1 * self.attention(torch.addcmul(m1, self.norm(x), 1 + s1), angles)
        return x + g2 * self.feed_forward(torch.addcmul(m2, self.norm(x), 1 + s2))


class Stack(nn.Module):
    """Blocks in a row with a final norm, or only the first `depth` of them without it."""

    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.head, self.checkpointing = width // heads, False
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = RMSNorm(width)

    def forward(
        self, x: Tensor, causal: bool = False, caches=None, start: int = 0, depth: int | None = None
    ):
        angles = rotary_angles(torch.arange(start, start + x.shape[1], device=x.device), self.head)
        for i, block in enumerate(self.blocks[:depth]):
            if self.checkpointing and self.training:
                x = checkpoint(block, x, angles, causal, use_reentrant=False)
            else:
                x = block(x, angles, causal=causal, cache=caches and caches[i])
        return self.norm(x) if depth is None else x


class DiffusionTransformer(nn.Module):
    """Denoiser f(z_t, t, c): predicts the clean latent z_1 from a point of the path, its time, and
    a self-condition c.

    Positions are rotary and may be fractional, so that any number of latents can be asked for; a
    short convolution lets each see three neighbors on either side from the first block on.
    """

    def __init__(self, latent: int, width: int, heads: int, layers: int, spacing: float = 1.0):
        super().__init__()
        self.head, self.spacing, self.checkpointing = width // heads, spacing, False
        self.enter = nn.Linear(2 * latent, width)
        self.mix = ShortConvolution(width, before=3, after=3)
        self.time = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.blocks = nn.ModuleList(ModulatedBlock(width, heads) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.leave = nn.Linear(width, latent)

    def zero(self) -> None:
        """Set what adaLN-Zero wants zero at the start: all modulations and the output map."""
        for layer in [*(block.modulation for block in self.blocks), self.leave]:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, zt: Float[Tensor, "b m d"], t: Float[Tensor, " b"], c: Float[Tensor, "b m d"]
    ) -> Float[Tensor, "b m d"]:
        dtype = self.enter.weight.dtype
        x = self.mix(self.enter(torch.cat((zt, c), dim=-1).to(dtype)))
        condition = self.time(time_features(t, x.shape[-1]).to(dtype))
        angles = rotary_angles(self.spacing * torch.arange(x.shape[1], device=x.device), self.head)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, angles, condition, use_reentrant=False)
            else:
                x = block(x, angles, condition)
        return self.leave(self.norm(x))
