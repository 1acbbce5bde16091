"""GPT: the autoregressive baseline, and the pretrained model whose states LDLM reshapes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..errors import UserError
from ..nets.cache import Cache
from ..nets.frozen import FrozenEncoder
from ..nets.layers import ShortConvolution, init_weights
from ..nets.transformer import Stack
from ..tokens import PAD
from .base import LanguageModel, Losses
from .generation import Capabilities
from .measures import count_text


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT."""

    vocab_size: int = 265  # tokens, specials included
    seq_len: int = 64  # longest text in tokens
    d_model: int = 128  # channels of a state
    n_heads: int = 4  # attention heads
    n_layers: int = 4  # blocks


def check_layer(layer: int, n_layers: int, name: str) -> None:
    """Refuse a layer that is not in the list [embedding, block 1, ..., block L]."""
    if not -n_layers - 1 <= layer <= n_layers:
        raise UserError(
            f"{name} has no layer {layer}: choose one from {-n_layers - 1} to {n_layers}"
        )


class GPT(LanguageModel):
    """Pre-norm decoder with rotary positions and tied embeddings: p(w) = prod_i p(w_i | w_<i).

    A short convolution lets each position see the three tokens before it from the first block on,
    so that one attention can match pairs of tokens. Without it, binding names to species takes
    several times as long to learn: `studies/ch11_binding.py`.
    """

    title = "a GPT"
    capabilities = Capabilities(
        ("ancestral",), frozenset({"length", "temperature", "top_p", "prompt", "num_tries"})
    )
    causal = True

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.conv = ShortConvolution(config.d_model, before=3, after=0)
        self.stack = Stack(config.d_model, config.n_heads, config.n_layers)
        init_weights(self, config.n_layers)
        nn.init.normal_(self.embedding.weight, std=config.d_model**-0.5)

    def embed(self, tokens: Int[Tensor, "... n"], start: int = 0) -> Float[Tensor, "... m width"]:
        """What the blocks read from position `start` on.

        x = conv(e),  e_i = sqrt(d) E[w_i],  a causal convolution of embeddings of variance 1
        """
        first = max(start - self.conv.before, 0)
        return self.conv(self.embedding(tokens[..., first:]) * self.config.d_model**0.5)[
            ..., start - first :, :
        ]

    def logits(
        self, tokens: Int[Tensor, "batch n"], caches: list[Cache] | None = None, start: int = 0
    ) -> Float[Tensor, "batch m vocabulary"]:
        """Logits of the next token after each position from `start` on, E norm(x_i).

        `caches` hold what came before `start`, one for each block.
        """
        x = self.stack(self.embed(tokens, start), causal=True, caches=caches, start=start)
        return x @ self.embedding.weight.T

    def relaxed_logits(
        self, z: Float[Tensor, "batch n vocab_size"]
    ) -> Float[Tensor, "batch n vocab_size"]:
        """Logits of the token at each position, from points z of the simplex before it."""
        x = self.conv(z @ self.embedding.weight * self.config.d_model**0.5)
        logits = self.stack(x, causal=True) @ self.embedding.weight.T
        return F.pad(logits[:, :-1], (0, 0, 1, 0))

    def states(
        self, tokens: Int[Tensor, "batch n"], layer: int = -3, reach: int | None = None
    ) -> Float[Tensor, "batch n width"]:
        """Hidden states h after a block; `layer` is an index of [embedding, block 1, ..., L].

        With a `reach` a block reads only so many tokens before each.
        """
        depth = layer % (self.config.n_layers + 1)
        return self.stack(self.embed(tokens), causal=True, depth=depth, reach=reach)

    def token_nll(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None, parts: int = 8
    ) -> Float[Tensor, "b n"]:
        """-log p(w_i | w_<i) of each token, exact, in one evaluation of the network."""
        nll = F.cross_entropy(
            self.logits(tokens[:, :-1]).float().mT,
            tokens[:, 1:],
            ignore_index=PAD,
            reduction="none",
        )
        return F.pad(nll, (1, 0))

    @torch.no_grad()
    def held_out(self, batches: Iterable[Int[Tensor, "b n"]]) -> dict[str, float]:
        """Cross-entropy in nats a token, <eos> counted, and perplexity, over all tokens together.

        exp( - sum_i log p(w_i | w_<i) / number of tokens )
        """
        nats = 0.0
        count = 0
        for tokens in batches:
            nats += double(self.token_nll(tokens.to(self.device))).sum().item()
            count += count_text(tokens)
        return {"nats_per_token": nats / count, "perplexity": math.exp(nats / count)}

    def as_encoder(
        self, layer: int, name: str = "this GPT", reach: int | None = None
    ) -> FrozenEncoder:
        """The states after a block, frozen."""
        check_layer(layer, self.config.n_layers, name)
        states = partial(GPT.states, layer=layer, reach=reach)
        # the network that the encoder gives to `states` is this GPT
        return FrozenEncoder(self, states, self.config.d_model)  # pyright: ignore[reportArgumentType]

    def losses(
        self, tokens: Int[Tensor, "batch length"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """Cross-entropy of the next token in nats, where it is not padding.

        L = - mean_i log p(w_i | w_<i)
        """
        logits = self.logits(tokens[:, :-1]).flatten(0, 1).float()
        following = tokens[:, 1:].flatten()
        return Losses({"cross_entropy": F.cross_entropy(logits, following, ignore_index=PAD)})
