"""Our GPT against a plain model of nanoGPT's shape: a training step, and generation with a cache against without.

    OMP_NUM_THREADS=1 python benchmarks/gpt.py

4 layers x 128 channels x 4 heads, 65 symbols, 12 texts of 64, float32, AdamW, gradients clipped at 1. The stand-in is
written here from nanoGPT's published shape: layer norms, learned positions, tied head, PyTorch's fused attention, no cache.
"""

import json

import torch
import torch.nn.functional as F
from timing import versus
from torch import nn

from minildm.models.generation import GenerationConfig
from minildm.models.gpt import GPT, GPTConfig
from minildm.sampling import Sampler, discrete
from minildm.training.config import TrainConfig
from minildm.training.optim import make_optimizer

SYMBOLS, WIDTH, HEADS, LAYERS, CONTEXT, BATCH = 65, 128, 4, 4, 64, 12


class PlainBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = (
            nn.Linear(WIDTH, 3 * WIDTH, bias=False),
            nn.Linear(WIDTH, WIDTH, bias=False),
        )
        self.up, self.down = (
            nn.Linear(WIDTH, 4 * WIDTH, bias=False),
            nn.Linear(4 * WIDTH, WIDTH, bias=False),
        )

    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (
            y.view(b, n, HEADS, -1).transpose(1, 2)
            for y in self.qkv(self.norm1(x)).split(WIDTH, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, n, WIDTH))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Plain(nn.Module):
    """A decoder of nanoGPT's shape."""

    def __init__(self, context: int):
        super().__init__()
        self.context = context
        self.words, self.places = nn.Embedding(SYMBOLS, WIDTH), nn.Embedding(context, WIDTH)
        self.blocks = nn.Sequential(*(PlainBlock() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH, bias=False)

    def forward(self, tokens):
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        return self.norm(self.blocks(x)) @ self.words.weight.T

    @torch.no_grad()
    def generate(self, tokens, count):
        for _ in range(count):
            logits = self(tokens[:, -self.context :])[:, -1]
            tokens = torch.cat((tokens, torch.multinomial(logits.softmax(-1), 1)), dim=1)
        return tokens


def training_step(model, loss):
    optimizer = make_optimizer(model, TrainConfig(optimizer="adamw", lr=1e-3, weight_decay=0.1))

    def step():
        tokens = torch.randint(4, SYMBOLS, (BATCH, CONTEXT + 1))
        optimizer.zero_grad()
        loss(tokens).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    ours, plain = GPT(GPTConfig(SYMBOLS, CONTEXT + 1, WIDTH, HEADS, LAYERS)), Plain(CONTEXT)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (ours, plain)]
    rows = {"parameters": {"ours": sizes[0], "peer": sizes[1]}}
    rows["training step"] = versus(
        training_step(ours, lambda t: ours(t, step=0, rng=rng).total),
        training_step(
            plain, lambda t: F.cross_entropy(plain(t[:, :-1]).flatten(0, 1), t[:, 1:].flatten())
        ),
        rounds=40,
    )
    ours, plain = GPT(GPTConfig(SYMBOLS, 257, WIDTH, HEADS, LAYERS)), Plain(256)
    discrete.EOS = -1  # an untrained model would end its texts early
    sampler = Sampler(ours, GenerationConfig(length=257))
    prompt = torch.ones(1, 1, dtype=torch.long)
    for batch in (1, 16):
        start = torch.full((batch, 1), 1)
        rows[f"256 tokens, batch {batch}"] = versus(
            lambda batch=batch: sampler(batch, rng=rng, prompt=prompt),
            lambda start=start: plain.generate(start, 256),
            rounds=3,
        )
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
