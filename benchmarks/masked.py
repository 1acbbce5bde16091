"""A training step and the sampler of our masked model against plain stand-ins of two peers' published shapes, in one run.

    OMP_NUM_THREADS=1 python benchmarks/masked.py [ROUNDS]

The stand-ins are our own, written straightforwardly after descriptions of the peers; neither is the peers' code:
`tiny-diffusion`: pre-norm blocks with rotary positions and squared ReLU, decoding the 8 surest positions a call;
`dLLM`: a BERT-shaped encoder, post-norm with learned positions, low-confidence remasking with Gumbel noise in float64.
All have 4 layers, 128 channels, 4 heads, 66 characters, 64 positions. Seconds are those of the process on its one thread,
so that other work on the machine does not count; sides alternate, and what counts is their ratio.
"""

import json
import sys
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from timing import versus

from minildm.evaluation.provenance import provenance
from minildm.models.generation import GenerationConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.sampling import Sampler

SIZE, LENGTH, WIDTH, HEADS, LAYERS, HIDDEN = 66, 64, 128, 4, 4, 3  # HIDDEN: id of the mask
TRAIN, WRITE, NFE = (
    12,
    16,
    8,
)  # rows of a training step, rows written at once, network evaluations
PUBLISHED = {
    "tiny-diffusion": 3932,
    "dLLM": 4257,
}  # tokens/s measured elsewhere on the peers' own code, for orientation
OUT = Path(__file__).parent / "results" / "masked.json"


class Attention(nn.Module):
    def __init__(self, bias: bool):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH, bias=bias) for _ in range(4))

    def forward(self, x, turn=lambda x: x):
        q, k, v = (
            layer(x).view(*x.shape[:2], HEADS, -1).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(turn(q), turn(k), v)
        return self.out(y.transpose(1, 2).reshape(x.shape))


class Rotary(nn.Module):
    """Pre-norm, rotary positions with normalized queries and keys, squared ReLU, an output matrix of its own."""

    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(SIZE, WIDTH), nn.Linear(WIDTH, SIZE, bias=False)
        self.attention = nn.ModuleList(Attention(False) for _ in range(LAYERS))
        self.up = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH, bias=False) for _ in range(LAYERS))
        self.down = nn.ModuleList(nn.Linear(4 * WIDTH, WIDTH, bias=False) for _ in range(LAYERS))
        half = WIDTH // HEADS // 2
        angles = torch.arange(LENGTH)[:, None] * 10_000 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def turn(self, x):
        a, b = x.chunk(2, dim=-1)
        return norm(torch.cat((a * self.cos + b * self.sin, b * self.cos - a * self.sin), dim=-1))

    def forward(self, tokens):
        x = norm(self.embedding(tokens))
        for attention, up, down in zip(self.attention, self.up, self.down):
            x = x + attention(norm(x), self.turn)
            x = x + down(F.relu(up(norm(x))).square())
        return self.head(norm(x))


def norm(x):
    return F.rms_norm(x, x.shape[-1:])


class Bert(nn.Module):
    """Post-norm, learned positions, GELU, a transformed output tied to the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.position = nn.Embedding(SIZE, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.attention = nn.ModuleList(Attention(True) for _ in range(LAYERS))
        self.up = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH) for _ in range(LAYERS))
        self.down = nn.ModuleList(nn.Linear(4 * WIDTH, WIDTH) for _ in range(LAYERS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * LAYERS + 2))
        self.transform, self.bias = nn.Linear(WIDTH, WIDTH), nn.Parameter(torch.zeros(SIZE))
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, tokens):
        x = self.norms[-1](self.embedding(tokens) + self.position.weight[: tokens.shape[1]])
        for i, (attention, up, down) in enumerate(zip(self.attention, self.up, self.down)):
            x = self.norms[2 * i](x + attention(x))
            x = self.norms[2 * i + 1](x + down(F.gelu(up(x))))
        return F.linear(self.norms[-2](F.gelu(self.transform(x))), self.embedding.weight, self.bias)


@torch.no_grad()
def surest(model, rng):
    """Fill in the positions of highest probability, as many in each call."""
    tokens = torch.full((WRITE, LENGTH), HIDDEN)
    for _ in range(NFE):
        probs = model(tokens).softmax(-1)
        words = torch.multinomial(probs.view(-1, SIZE), 1, generator=rng).view(WRITE, LENGTH)
        sure = probs.gather(-1, words[..., None])[..., 0].masked_fill(tokens != HIDDEN, -1.0)
        best = sure.topk(LENGTH // NFE, dim=-1).indices
        tokens = tokens.scatter(1, best, words.gather(1, best))
    return tokens


@torch.no_grad()
def remasked(model, rng):
    """Draw with Gumbel noise in float64, keep the words of highest probability, row by row."""
    tokens = torch.full((WRITE, LENGTH), HIDDEN)
    for _ in range(NFE):
        hidden, logits = tokens == HIDDEN, model(tokens)
        noise = torch.rand(logits.shape, dtype=torch.float64, generator=rng)
        words = (logits.double().exp() / -noise.log()).argmax(-1)
        words = torch.where(hidden, words, tokens)
        sure = (
            logits.softmax(-1).gather(-1, words[..., None])[..., 0].masked_fill(~hidden, -torch.inf)
        )
        shown = torch.zeros_like(hidden)
        for row in range(WRITE):
            shown[row, sure[row].topk(LENGTH // NFE).indices] = True
        tokens = torch.where(shown, words, tokens)
    return tokens


def training(model, loss, text, rng):
    """A step as a function: rows cut from a text, loss, gradient clipped at 1, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        starts = torch.randint(len(text) - LENGTH, (TRAIN,), generator=rng)
        optimizer.zero_grad()
        loss(torch.stack([text[i : i + LENGTH] for i in starts])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def plain_loss(model, rng):
    """Cross-entropy of masked positions, a fraction of which is drawn for each row."""

    def loss(tokens):
        hidden = torch.rand(tokens.shape, generator=rng) < torch.rand(len(tokens), 1, generator=rng)
        hidden[:, 0] = True
        return F.cross_entropy(model(tokens.masked_fill(hidden, HIDDEN))[hidden], tokens[hidden])

    return loss


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng, rounds, rows = (
        torch.Generator().manual_seed(0),
        int(sys.argv[1]) if len(sys.argv) > 1 else 12,
        {},
    )
    text = torch.randint(4, SIZE, (100_000,), generator=rng)
    ours = MaskedDiffusion(MaskedDiffusionConfig(SIZE, LENGTH, WIDTH, HEADS, LAYERS))
    sampler_of_ours = Sampler(ours, GenerationConfig(steps=NFE, solver="confidence"))
    step = training(ours, lambda tokens: ours.losses(tokens, step=0, rng=rng).total, text, rng)

    def write():
        return sampler_of_ours(WRITE, rng=rng)

    assert write().nfe == NFE and (write().tokens != HIDDEN).all()
    for name, model, sampler in (("tiny-diffusion", Rotary(), surest), ("dLLM", Bert(), remasked)):
        assert (
            sampler(model, rng) != HIDDEN
        ).float().mean() > 0.8  # untrained, they may write the mask itself
        sides = {
            "training step": (
                step,
                training(model, plain_loss(model, rng), text, rng),
                TRAIN * LENGTH,
            ),
            "sampler": (
                write,
                lambda model=model, sampler=sampler: sampler(model, rng),
                WRITE * LENGTH,
            ),
        }
        for kind, (mine, theirs, tokens) in sides.items():
            row = versus(mine, theirs, rounds, core=0.0, timer=time.process_time)
            row |= {
                "tokens_per_s": tokens / row["ours_median"],
                "peer_tokens_per_s": tokens / row["peer_median"],
                "peer_parameters": sum(p.numel() for p in model.parameters()),
            }
            rows[f"{kind}, {name}"] = row
            print(
                json.dumps({f"{kind}, {name}": {k: round(v, 4) for k, v in row.items()}}),
                flush=True,
            )
    sizes = {
        "parameters": sum(p.numel() for p in ours.parameters()),
        "training_rows": TRAIN,
        "rows_written": WRITE,
        "length": LENGTH,
        "nfe": NFE,
        "threads": 1,
        "timer": "process time",
    }
    found = {
        "sizes": sizes,
        "published_tokens_per_s": PUBLISHED,
        "rows": rows,
        **provenance(torch.device("cpu")),
    }
    OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
