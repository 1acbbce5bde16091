"""GPT: the autoregressive baseline, and the pretrained model whose states LDLM reshapes."""

import time
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.records import Trajectory
from ..nets.cache import Cache
from ..nets.layers import ShortConvolution, init_weights
from ..nets.transformer import Stack
from .base import (
    BOS,
    EOS,
    PAD,
    Generation,
    LanguageModel,
    Losses,
    categorical,
    check_request,
    nucleus,
)


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT."""

    vocabulary: int = 265  # tokens, specials included
    length: int = 64  # longest text in tokens
    width: int = 128  # channels of a state
    heads: int = 4  # attention heads
    layers: int = 4  # blocks


class GPT(LanguageModel):
    """Pre-norm decoder with rotary positions and tied embeddings: p(w) = prod_i p(w_i | w_<i).

    A short convolution lets each position see the three words before it from the first block on, so
    that one attention can match pairs of words. Without it, binding names to species takes several
    times as long to learn: `benchmarks/binding.py`.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.mix = ShortConvolution(config.width, before=3, after=0)
        self.stack = Stack(config.width, config.heads, config.layers)
        init_weights(self, config.layers)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)

    def embed(self, tokens: Int[Tensor, "... n"], start: int = 0) -> Float[Tensor, "... m width"]:
        """What the blocks read from position `start` on: a short causal convolution of
        unit-variance embeddings.

        x = mix(e),  e_i = sqrt(width) E[w_i], so that states keep which word they stand for
        """
        first = max(start - self.mix.before, 0)
        return self.mix(self.embedding(tokens[..., first:]) * self.config.width**0.5)[
            ..., start - first :, :
        ]

    def logits(
        self, tokens: Int[Tensor, "batch n"], caches=None, start: int = 0
    ) -> Float[Tensor, "batch m vocabulary"]:
        """Logits of the next token after each position from `start` on, W norm(x_i); `caches` hold
        what came before.
        """
        x = self.stack(self.embed(tokens, start), causal=True, caches=caches, start=start)
        return x @ self.embedding.weight.T

    def states(
        self, tokens: Int[Tensor, "batch n"], layer: int = -3
    ) -> Float[Tensor, "batch n width"]:
        """Hidden states h after a block; layer counts as in a list [embedding, block 1, ..., block
        L].
        """
        return self.stack(self.embed(tokens), causal=True, depth=layer % (self.config.layers + 1))

    def token_nats(self, tokens: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n-1"]:
        """-log p(w_i | w_<i) of each token after the first, in nats; 0 at padding."""
        logits = self.logits(tokens[:, :-1]).float()
        return F.cross_entropy(
            logits.transpose(1, 2), tokens[:, 1:], ignore_index=PAD, reduction="none"
        )

    def losses(
        self, tokens: Int[Tensor, "batch length"], *, step: int, rng: torch.Generator
    ) -> Losses:
        """Cross-entropy of the next token, L = - mean_i log p(w_i | w_<i), in nats a token that is
        not padding.
        """
        logits = self.logits(tokens[:, :-1]).flatten(0, 1)
        return Losses(
            {
                "cross_entropy": F.cross_entropy(
                    logits.float(), tokens[:, 1:].flatten(), ignore_index=PAD
                )
            }
        )

    @torch.no_grad()
    def generate(
        self,
        count: int,
        *,
        rng: torch.Generator,
        steps: int | None = None,
        solver: str | None = None,
        length: int | None = None,
        prompt: Int[Tensor, "one p"] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        record: bool = False,
    ) -> Generation:
        """Write texts token by token with a key-value cache; `steps` and `solver` are not used."""
        length = length or self.config.length
        check_request(count, length, prompt)
        began = time.perf_counter()
        if prompt is None:
            prompt = torch.full((1, 1), BOS, device=self.device)
        tokens = torch.zeros(count, length, dtype=torch.long, device=self.device)
        tokens[:, : prompt.shape[1]] = prompt
        c = self.config
        caches = [Cache(length) for _ in range(c.layers)]
        done, seen, calls = torch.zeros(count, dtype=torch.bool, device=self.device), 0, 0
        confidence = torch.ones(count, length, device=self.device)
        path = []
        for i in range(prompt.shape[1], length):
            probs = nucleus(
                self.logits(tokens[:, :i], caches, start=seen)[:, -1], temperature, top_p
            )
            seen, calls = i, calls + 1
            choice = categorical(probs, rng)
            confidence[:, i] = probs.gather(1, choice[:, None]).squeeze(1)
            choice = choice.to(self.device)
            tokens[:, i] = choice.masked_fill(done, PAD)
            if record:
                path.append((tokens.clone(), confidence.clone()))
            done |= choice == EOS
            if done.all():
                break
        trajectory = None
        if record:
            words, sure = (torch.stack(x) for x in zip(*path))
            times = torch.linspace(0, 1, len(path) + 1)[1:]
            trajectory = Trajectory(times, self.embed(words), tokens=words, confidence=sure)
        return Generation(tokens, calls, time.perf_counter() - began, trajectory)
