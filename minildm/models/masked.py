"""Masked diffusion, the discrete baseline: texts begin all masked, and tokens are revealed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn as nn
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..nets.layers import ShortConvolution, init_weights
from ..nets.transformer import Stack
from ..tokens import MASK
from ..transport.time_sampling import Uniform
from .base import LanguageModel, Losses
from .confidence import SCORES
from .generation import Capabilities
from .measures import at_text, count_text, cross_entropies

DRAWS = 16  # times at which the bound is drawn for each text that is held out


@dataclass(frozen=True)
class MaskedDiffusionConfig:
    """Sizes of a masked diffusion model."""

    vocab_size: int = 265  # tokens, specials included
    seq_len: int = 64  # text in tokens, padding included
    d_model: int = 128  # channels of a state
    n_heads: int = 4  # attention heads
    n_layers: int = 4  # blocks


class MaskedDiffusion(LanguageModel):
    """Absorbing-state diffusion: at time t a token is visible with probability t, else <mask>.

    A bidirectional transformer predicts the tokens behind the masks, p_i(w | w_t). It does not read
    the time, because the optimal prediction depends only on what is visible. The tokens that a step
    reveals are drawn independently of each other.
    """

    title = "a masked model"
    capabilities = Capabilities(
        ("ancestral", *SCORES),
        frozenset(
            {"steps", "solver", "length", "temperature", "top_p", "prompt", "observed", "num_tries"}
        ),
    )

    def __init__(self, config: MaskedDiffusionConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.conv = ShortConvolution(config.d_model, before=3, after=3)
        self.stack = Stack(config.d_model, config.n_heads, config.n_layers)
        init_weights(self, config.n_layers)
        nn.init.normal_(self.embedding.weight, std=config.d_model**-0.5)

    def embed(self, tokens: Int[Tensor, "... n"]) -> Float[Tensor, "... n width"]:
        """What the blocks read: a short convolution of embeddings of variance 1."""
        return self.conv(self.embedding(tokens) * self.config.d_model**0.5)

    def logits(self, tokens: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n vocab_size"]:
        """Logits of the token behind each position, which is never <mask> itself."""
        logits = self.stack(self.embed(tokens)) @ self.embedding.weight.T
        logits[..., MASK] = -torch.inf
        return logits

    def relaxed_logits(
        self, z: Float[Tensor, "batch n vocab_size"]
    ) -> Float[Tensor, "batch n vocab_size"]:
        """Logits of the token at each position, from points z of the simplex everywhere."""
        x = self.conv(z @ self.embedding.weight * self.config.d_model**0.5)
        logits = self.stack(x) @ self.embedding.weight.T
        return logits.index_fill(-1, torch.tensor([MASK], device=z.device), -torch.inf)

    def hide(
        self, tokens: Int[Tensor, "batch n"], t: Float[Tensor, " batch"], rng: torch.Generator
    ) -> Bool[Tensor, "batch n"]:
        """Which positions are masked at time t: each with probability 1 - t."""
        return torch.rand(tokens.shape, generator=rng, device=tokens.device) >= t[:, None]

    def bound(
        self, tokens: Int[Tensor, "batch n"], rng: torch.Generator
    ) -> Float[Tensor, " batch"]:
        """One draw of the continuous-time bound on -log p(w), in nats a text.

        -log p(w) <= integral over t of E sum_{i masked at t} -log p_i(w_i | w_t) / (1 - t) dt
        """
        t = Uniform().draw(len(tokens), rng)  # spread evenly over the batch
        hidden = self.hide(tokens, t, rng)
        nats = cross_entropies(self.logits(tokens.masked_fill(hidden, MASK)).float(), tokens)
        return (nats * hidden).sum(1) / (1 - t)

    @torch.no_grad()
    def token_nll(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None, parts: int = 8
    ) -> Float[Tensor, "b n"]:
        """-log p(w_i | most other tokens): every `parts`-th token is masked, once each."""
        nll = torch.zeros(tokens.shape, device=tokens.device)
        for part in range(parts):
            hidden = (torch.arange(tokens.shape[1], device=tokens.device) % parts == part).expand(
                len(tokens), -1
            )
            logits = self.logits(tokens.masked_fill(hidden, MASK))
            nll = cross_entropies(logits, tokens).where(hidden, nll)
        return at_text(nll, tokens)

    @torch.no_grad()
    def held_out(
        self, batches: Iterable[Int[Tensor, "b n"]], draws: int = DRAWS
    ) -> dict[str, float]:
        """The bound on the nats a token, with the standard error of its `draws` for each text.

        -log p(w) <= E over t and masks of sum_{i masked} -log p_i(w_i | w_t) / (1 - t)

        Derived in chapter 09. Source: MDLM 2406.07524.
        """
        rng = torch.Generator(self.device).manual_seed(0)
        found = []
        count = 0
        for tokens in batches:
            tokens = tokens.to(self.device)
            count += count_text(tokens)
            found.append(torch.stack([double(self.bound(tokens, rng)) for _ in range(draws)]))
        nats = torch.cat(found, dim=1)
        mean = nats.mean(0).sum().item() / count
        error = (nats.var(0) / draws).sum().sqrt().item() / count
        return {
            "nats_per_token": mean,
            "nats_standard_error": error,
            "perplexity": math.exp(mean),
        }

    def losses(
        self, tokens: Int[Tensor, "batch n"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """L = the bound in nats a position."""
        return Losses({"bound": self.bound(tokens, rng).mean() / tokens.shape[1]})
