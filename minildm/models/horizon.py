"""A policy with a receding horizon: posteriors of the tokens of a block, after finished tokens.

It is trained on texts cut into blocks of all sizes, beside the text itself, and on whole texts. A
candidate for Manta-LM's policy, which `studies/ch13_horizon.py` measures.
"""

from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..nets.horizon import Blocks, HorizonNetwork, HorizonNetworkConfig
from ..tokens import PAD
from ..transport.codebook import Codebook
from ..transport.horizon import training_horizon
from ..transport.information import InformationTime
from .base import LanguageModel, Losses
from .measures import at_text, cross_entropies

SPAN = 4  # tokens that are observed together
LATEST = 0.999  # time up to which a state is evidence of its token


@dataclass(frozen=True)
class HorizonConfig:
    """A policy with a receding horizon, and how it is trained."""

    vocab_size: int = 265
    seq_len: int = 64
    network: HorizonNetworkConfig = field(default_factory=lambda: HorizonNetworkConfig(32, 265))
    block_fraction: float = 0.55  # of the batches that are cut into blocks; the rest is whole
    longest: int = 24  # largest horizon of the blocks
    next_token_weight: float = 0.5  # of the finished tokens' own loss
    ramp_fraction: float = 0.3  # of whole texts whose levels fall off; the rest has one level
    observed_fraction: float = 0.25  # of whole texts with observed tokens


class HorizonPolicy(LanguageModel):
    """Token posteriors of noisy positions, over the codebook of a frozen VAE."""

    title = "a policy with a receding horizon"
    means: Tensor
    variances: Tensor

    def __init__(self, config: HorizonConfig, book: Codebook, frequencies: Tensor):
        super().__init__()
        self.config = config
        self.network = HorizonNetwork(config.network)
        self.register_buffer("means", book.means.detach(), persistent=False)
        self.register_buffer("variances", book.variances.detach(), persistent=False)
        self.prior = nn.Parameter(frequencies.log())
        self.time = InformationTime(self.book, frequencies.log())

    @property
    def book(self) -> Codebook:
        return Codebook(self.means, self.variances)

    def logits(
        self,
        zt: Float[Tensor, "b m d"],
        t: Float[Tensor, "b m"],
        blocks: Blocks,
        tokens: Int[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "b m vocab_size"], Float[Tensor, "b n vocab_size"] | None]:
        """Logits of the tokens of noisy rows, and of the token after each finished one."""
        with torch.autocast(zt.device.type, enabled=False):
            local = self.prior + self.book.evidence(zt, t.clamp(max=LATEST))
            posterior = local.softmax(-1)
        network = self.network
        rows = network.embed(zt, posterior, t)
        given = finished = None
        if tokens is not None:
            given = F.one_hot(tokens, self.config.vocab_size).to(posterior.dtype)
            finished = network.embed(self.means[tokens], given, torch.ones_like(given[..., 0]))
        features = network(rows, blocks, finished)
        found = local + network.scores(features, blocks, posterior, given).float()
        if given is None or features[1] is None:
            return found, None
        return found, self.prior + network.next_tokens(features[1], given).float()

    def draw(
        self, tokens: Int[Tensor, "b n"], v: Float[Tensor, "b n"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
        """z_t of texts at levels v, and the times t."""
        t = self.time.warp(v)
        shape = 2, *tokens.shape, self.means.shape[1]
        z1, z0 = torch.randn(shape, generator=rng, device=rng.device)
        z1 = self.means[tokens] + self.variances.sqrt() * z1
        return t[..., None] * z1 + (1 - t[..., None]) * z0, t

    def whole(self, b: int, n: int, rng: torch.Generator) -> Float[Tensor, "b n"]:
        """Levels of texts without blocks: one level, or levels that fall off; some are given."""
        level, length, lead, falls, part, some = torch.rand(
            6, b, 1, generator=rng, device=rng.device
        )
        length = 4 * (n / 4) ** length
        ramp = (lead * (n + length) - torch.arange(n, device=rng.device)) / length
        v = ramp.clamp(0, 1).where(falls < self.config.ramp_fraction, level)
        spans = torch.rand(b, -(-n // SPAN), generator=rng, device=rng.device)
        spans = spans.repeat_interleave(SPAN, 1)[:, :n]
        v = v.masked_fill((spans < part) & (some < self.config.observed_fraction), 1.0)
        v[:, 0] = 1.0
        return v

    def losses(
        self, tokens: Int[Tensor, "b n"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """Cross-entropy of tokens under way, and of the next token of finished texts."""
        b, n = tokens.shape
        place = torch.arange(n, device=tokens.device)
        cut = bool(torch.rand((), generator=rng, device=rng.device) < self.config.block_fraction)
        if cut:
            v, block, second = training_horizon(b, n, self.config.longest, rng)
            size = int((block == 1).sum()) if bool((block == 1).any()) else n
            start = (second + (block - 1) * size).clamp(min=0)
            blocks = Blocks(place, start, block[:, None] == block)
        else:
            v = self.whole(b, n, rng)
            blocks = Blocks.one(0, n, tokens.device)
        zt, t = self.draw(tokens, v, rng)
        logits, following = self.logits(zt, t, blocks, tokens if cut else None)
        moving = (v < 1).float()
        flight = (cross_entropies(logits, tokens) * moving).sum() / moving.sum()
        terms = {"flight": flight}
        if following is not None:
            each = at_text(F.pad(cross_entropies(following[:, :-1], tokens[:, 1:]), (1, 0)), tokens)
            mean = each.sum() / (tokens[:, 1:] != PAD).sum()
            terms["next"] = self.config.next_token_weight * mean
        return Losses(terms, {"flight_blocks" if cut else "flight_whole": flight.detach()})
