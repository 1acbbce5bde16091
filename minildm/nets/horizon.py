"""A network for texts that are written block by block: finished tokens beside noisy ones.

The finished tokens are a causal stream, as in a GPT, which reads nothing noisy. A noisy row reads
the finished tokens before its block and all rows of its block. Half of the heads read what is
near, by relative position; the others read all of the text, by content alone. So nothing depends on
the length of a text.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .layers import attend, init_weights, rotary_angles, rotate, time_features
from .vector_field import HIDDEN

REACH = 32  # tokens that the near heads read in either direction
BEFORE = 3  # neighbors of the convolutions
AFTER = 3


@dataclass(frozen=True)
class Blocks:
    """Where noisy rows stand, and what they may read."""

    positions: Int[Tensor, " m"]  # in tokens, increasing by 1
    start: Int[Tensor, " m"]  # finished tokens before it are read
    same: Bool[Tensor, "m m"]  # whether row i reads row j, as those of one block do

    @classmethod
    def one(cls, start: int, end: int, device: torch.device) -> "Blocks":
        """The block [start, end), after all finished tokens."""
        positions = torch.arange(start, end, device=device)
        same = torch.ones(end - start, end - start, dtype=torch.bool, device=device)
        return cls(positions, torch.full_like(positions, start), same)

    def readable(self, finished: int) -> Bool[Tensor, "m both"]:
        """Which finished tokens and rows each row reads, side by side."""
        before = torch.arange(finished, device=self.start.device) < self.start[:, None]
        return torch.cat((before, self.same), 1)


@dataclass(frozen=True)
class HorizonNetworkConfig:
    """Sizes of the network."""

    latent: int  # channels of a state
    vocab_size: int  # tokens
    d_model: int = 128  # channels inside
    n_heads: int = 4  # the first half of them near, the others far
    n_layers: int = 5  # blocks


class Norm(nn.LayerNorm):
    """Layer normalization without a shift, in the precision of its input."""

    def __init__(self, d_model: int):
        super().__init__(d_model, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight.to(input.dtype))


class SquaredFeedForward(nn.Module):
    """W' max(W x, 0)^2, with four times as many channels inside."""

    def __init__(self, d_model: int):
        super().__init__()
        self.up = nn.Linear(d_model, 4 * d_model, bias=False)
        self.out = nn.Linear(4 * d_model, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.up(x).relu().square())


class NearFarAttention(nn.Module):
    """Softmax attention whose first heads turn by positions and whose others read content alone."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.near = n_heads // 2
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def heads(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (b, heads, n, channels)."""
        q, k, v = rearrange(self.qkv(x), "b n (c h d) -> c b h n d", c=3, h=self.n_heads)
        angles = rotary_angles(positions, q.shape[-1])
        return self.turn(q, angles), self.turn(k, angles), v

    def turn(self, x: Tensor, angles: Tensor) -> Tensor:
        """Rotate the near heads."""
        return torch.cat((rotate(x[:, : self.near], angles), x[:, self.near :]), 1)

    def read(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """What the rows read, (b, n, d_model)."""
        return self.out(rearrange(attend(q, k, v, bias=bias), "b h n d -> b n (h d)"))


def head_biases(
    readable: Bool[Tensor, "n m"],
    readers: Int[Tensor, " n"],
    positions: Int[Tensor, " m"],
    n_heads: int,
) -> Float[Tensor, "one n_heads n m"]:
    """What is added to scores: 0 where a head reads, and a large negative number elsewhere."""
    near = readable & ((readers[:, None] - positions).abs() < REACH)
    first = n_heads // 2
    hidden = ~torch.stack([near] * first + [readable] * (n_heads - first))[None]
    return torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, HIDDEN)


class HorizonBlock(nn.Module):
    """Pre-norm residual block, the same for finished tokens and for noisy rows."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.norm1 = Norm(d_model)
        self.norm2 = Norm(d_model)
        self.attention = NearFarAttention(d_model, n_heads)
        self.feed_forward = SquaredFeedForward(d_model)

    def forward(
        self,
        rows: Tensor,
        finished: Tensor | None,
        places: tuple[Tensor, Tensor],
        biases: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor | None]:
        """Both streams; places and biases are those of the rows, then of the finished tokens."""
        q, k, v = self.attention.heads(self.norm1(rows), places[0])
        if finished is not None:
            own = self.attention.heads(self.norm1(finished), places[1])
            k = torch.cat((own[1], k), 2)
            v = torch.cat((own[2], v), 2)
            finished = finished + self.attention.read(*own, biases[1])
            finished = finished + self.feed_forward(self.norm2(finished))
        rows = rows + self.attention.read(q, k, v, biases[0])
        return rows + self.feed_forward(self.norm2(rows)), finished


def shift(x: Float[Tensor, "b n d"], k: int) -> Float[Tensor, "b n d"]:
    """y_i = x_{i+k}, with zeros beyond the ends."""
    if k >= 0:
        return F.pad(x, (0, 0, 0, k))[:, k:]
    return F.pad(x, (0, 0, -k, 0))[:, :k]


class HorizonNetwork(nn.Module):
    """Scores of the tokens of noisy rows, and of the next tokens of the finished text.

    Both streams pass through the same blocks. What enters of a row is its state, what the state
    alone says of its token, and its noise level; a finished token has its code, itself, and t = 1.
    """

    def __init__(self, config: HorizonNetworkConfig):
        super().__init__()
        c = config
        self.token_embedding = nn.Linear(c.vocab_size, c.d_model, bias=False)
        self.in_proj = nn.Linear(c.latent, c.d_model)
        first = nn.Linear(c.d_model, c.d_model)
        second = nn.Linear(c.d_model, c.d_model)
        self.time = nn.Sequential(first, nn.SiLU(), second)
        self.kernel = nn.Parameter(torch.zeros(BEFORE + 1 + AFTER, c.d_model))
        self.causal_kernel = nn.Parameter(torch.zeros(BEFORE + 1, c.d_model))
        self.blocks = nn.ModuleList(HorizonBlock(c.d_model, c.n_heads) for _ in range(c.n_layers))
        self.norm = Norm(c.d_model)
        self.finished_norm = Norm(c.d_model)
        self.query_key = nn.Linear(c.d_model, 2 * c.d_model, bias=False)
        self.gain = nn.Linear(c.d_model, c.n_heads)
        init_weights(self, c.n_layers)
        for kernel in (self.kernel, self.causal_kernel):
            nn.init.ones_(kernel[BEFORE])
        nn.init.constant_(self.gain.bias, 2.0)
        nn.init.normal_(self.token_embedding.weight, std=c.d_model**-0.5)
        for layer, size in ((self.in_proj, 0.3), (first, 1.0), (second, 1.0)):
            nn.init.normal_(layer.weight, std=size * layer.in_features**-0.5)

    def embed(
        self,
        z: Float[Tensor, "b n latent"],
        posterior: Float[Tensor, "b n vocab_size"],
        t: Float[Tensor, "b n"],
    ) -> Float[Tensor, "b n d_model"]:
        """What enters of each position."""
        x = self.token_embedding(posterior) * posterior.shape[-1] ** 0.5
        features = time_features(t.flatten(), x.shape[-1]).unflatten(0, t.shape)
        return x + self.in_proj(z) + self.time(features)

    def convolve(
        self, rows: Tensor, blocks: Blocks, finished: Tensor | None
    ) -> Float[Tensor, "b m d_model"]:
        """Each row mixed with its neighbors, which are rows of its block or finished tokens."""
        y = torch.zeros_like(rows)
        place = blocks.positions
        for k, weight in enumerate(self.kernel, -BEFORE):
            inside = F.pad(blocks.same.diagonal(k), (max(-k, 0), max(k, 0)))[: len(place)]
            part = shift(rows, k) * inside[:, None].to(rows.dtype)
            if finished is not None and k < 0:
                past = ~inside & (place + k >= 0) & (place + k < blocks.start)
                found = finished[:, (place + k).clamp(0, finished.shape[1] - 1)]
                part = part + found * past[:, None].to(rows.dtype)
            y = y + weight * part
        return y

    def forward(
        self, rows: Tensor, blocks: Blocks, finished: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features of the rows (b, m, d_model) and of the finished tokens (b, n, d_model)."""
        n = 0 if finished is None else finished.shape[1]
        place = torch.arange(n, device=rows.device)
        heads = self.gain.out_features
        both = torch.cat((place, blocks.positions))
        causal = place <= place[:, None]
        x = self.convolve(rows, blocks, finished)
        biases = (
            head_biases(blocks.readable(n), blocks.positions, both, heads).to(x.dtype),
            head_biases(causal, place, place, heads).to(x.dtype),
        )
        if finished is not None:
            kernel = enumerate(self.causal_kernel, -BEFORE)
            finished = torch.stack([w * shift(finished, k) for k, w in kernel]).sum(0)
        for block in self.blocks:
            x, finished = block(x, finished, (blocks.positions, place), biases)
        return self.norm(x), None if finished is None else self.finished_norm(finished)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys of the pointer, (b, heads, n, channels)."""
        heads = self.gain.out_features
        q, k = rearrange(self.query_key(x), "b n (two h d) -> two b h n d", two=2, h=heads)
        return q, k

    def point(
        self, x: Tensor, q: Tensor, k: Tensor, readable: Tensor, posteriors: Tensor
    ) -> Float[Tensor, "b n vocab_size"]:
        """Scores by embedding, and for tokens that stand elsewhere, as those of `Pointer`."""
        scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~readable, HIDDEN)
        kappa = scores.softmax(-1).masked_fill(~readable, 0.0)
        pointed = (self.gain(x).mT[..., None] * kappa).sum(1).to(posteriors.dtype) @ posteriors
        return x @ self.token_embedding.weight + pointed

    def next_tokens(
        self, features: Float[Tensor, "b n d_model"], tokens: Float[Tensor, "b n vocab_size"]
    ) -> Float[Tensor, "b n vocab_size"]:
        """Scores of the token after each finished one."""
        q, k = self.keys(features)
        causal = torch.ones(q.shape[2:3] * 2, dtype=torch.bool, device=q.device).tril()
        return self.point(features, q, k, causal, tokens)

    def scores(
        self,
        features: tuple[Tensor, Tensor | None],
        blocks: Blocks,
        posterior: Float[Tensor, "b m vocab_size"],
        tokens: Float[Tensor, "b n vocab_size"] | None = None,
    ) -> Float[Tensor, "b m vocab_size"]:
        """Scores of the tokens of the rows, in nats.

        Args:
            features: Of the rows and of the finished tokens.
            blocks: What the rows read.
            posterior: What the state of each row says of its token, (b, m, vocab_size).
            tokens: The finished tokens, one-hot (b, n, vocab_size).

        Returns:
            Scores (b, m, vocab_size).
        """
        x, finished = features
        q, k = self.keys(x)
        n = 0 if finished is None else finished.shape[1]
        readable = blocks.readable(n)
        readable[:, n:].fill_diagonal_(False)
        if finished is not None and tokens is not None:
            k = torch.cat((self.keys(finished)[1], k), 2)
            posterior = torch.cat((tokens, posterior), 1)
        return self.point(x, q, k, readable, posterior)
