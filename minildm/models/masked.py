"""Masked diffusion: texts begin all masked and words appear, in parallel and for good; the discrete
baseline.
"""

import time
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import integrate
from ..errors import UserError
from ..nets.layers import ShortConvolution, init_weights
from ..nets.transformer import Stack
from ..transport.time_sampling import Uniform
from .base import MASK, Generation, LanguageModel, Losses, categorical, check_request, nucleus

SOLVERS = ("ancestral", "confidence", "margin")


@dataclass(frozen=True)
class MaskedConfig:
    """Sizes of a masked diffusion model."""

    vocabulary: int = 265  # tokens, specials included
    length: int = 64  # text in tokens, padding included
    width: int = 128  # channels of a state
    heads: int = 4  # attention heads
    layers: int = 4  # blocks


class Masked(LanguageModel):
    """Absorbing-state diffusion: at time t each word of a text is visible with probability t, else
    it is <mask>.

    A bidirectional transformer predicts the words behind the masks, p_i(w | w_t); it needs no time,
    for the optimal prediction depends on what is visible alone. The words that a step reveals are
    drawn independently of each other.
    """

    def __init__(self, config: MaskedConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.mix = ShortConvolution(config.width, before=3, after=3)
        self.stack = Stack(config.width, config.heads, config.layers)
        init_weights(self, config.layers)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)

    def embed(self, tokens: Int[Tensor, "... n"]) -> Float[Tensor, "... n width"]:
        """What the blocks read: a short convolution of unit-variance embeddings."""
        return self.mix(self.embedding(tokens) * self.config.width**0.5)

    def logits(self, tokens: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n vocabulary"]:
        """Logits of the word behind each position; <mask> itself is never behind one."""
        logits = self.stack(self.embed(tokens)) @ self.embedding.weight.T
        logits[..., MASK] = -torch.inf
        return logits

    def hide(
        self, tokens: Int[Tensor, "batch n"], t: Float[Tensor, " batch"], rng: torch.Generator
    ) -> Bool[Tensor, "batch n"]:
        """Which positions are masked at time t: each with probability 1 - t."""
        return torch.rand(tokens.shape, generator=rng, device=tokens.device) >= t[:, None]

    def bound(
        self, tokens: Int[Tensor, "batch n"], rng: torch.Generator
    ) -> Float[Tensor, " batch"]:
        """One draw of the continuous-time bound on -log p(w), in nats a text, at times spread
        evenly over the batch.

        -log p(w) <= integral over t of E sum_{i masked at t} -log p_i(w_i | w_t) / (1 - t) dt
        """
        t = Uniform().draw(len(tokens), rng)
        hidden = self.hide(tokens, t, rng)
        logits = self.logits(tokens.masked_fill(hidden, MASK)).float()
        nats = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        return (nats * hidden).sum(1) / (1 - t)

    def losses(self, tokens: Int[Tensor, "batch n"], *, step: int, rng: torch.Generator) -> Losses:
        """L = the bound in nats a position."""
        return Losses({"bound": self.bound(tokens, rng).mean() / tokens.shape[1]})

    @torch.no_grad()
    def generate(
        self,
        count: int,
        *,
        rng: torch.Generator,
        steps: int | None = None,
        solver: str = "ancestral",
        length: int | None = None,
        prompt: Int[Tensor, "#batch p"] | None = None,
        mask: Bool[Tensor, "#batch p"] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        record: bool = False,
    ) -> Generation:
        """Write texts by revealing masks in `steps` steps, by default as many as there are
        positions.

        `prompt` fixes the beginning, or, with `mask` true at the positions to be written, whatever
        is not in the mask.
        """
        length = length or self.config.length
        steps = length if steps is None else steps
        check_request(count, length, None if mask is not None else prompt, steps)
        if solver not in SOLVERS:
            raise UserError(
                f"no sampler {solver!r} of a masked model: choose one of {', '.join(SOLVERS)}"
            )
        began = time.perf_counter()
        start = torch.full((count, length), MASK, device=self.device)
        if prompt is not None:
            start[:, : prompt.shape[1]] = prompt if mask is None else prompt.masked_fill(mask, MASK)
        predict = Predictor(self, temperature, top_p, record)
        step = ancestral
        if solver != "ancestral":
            step = reveal_best(
                margin if solver == "margin" else top_probability,
                (start == MASK).sum(1, keepdim=True),
            )
        path = integrate(predict, start, torch.linspace(0, 1, steps + 1), step, rng, record=record)
        trajectory = None
        if record:
            predict.note(path.states[-1])
            trajectory = Trajectory(
                path.times,
                self.embed(path.states),
                tokens=path.states,
                confidence=torch.stack(predict.sure),
            )
        return Generation(path.states[-1], predict.calls, time.perf_counter() - began, trajectory)


class Predictor:
    """A masked model as the field that samplers call: the `nucleus` of the words behind masks;
    counts calls.

    `sure` records how probable each position's word was when it was revealed, and how probable its
    best word is until then.
    """

    def __init__(self, model: Masked, temperature: float, top_p: float, record: bool):
        self.model, self.temperature, self.top_p, self.record = model, temperature, top_p, record
        self.calls, self.sure, self.law = 0, [], None

    def note(
        self,
        tokens: Int[Tensor, "batch n"],
        logits: Float[Tensor, "batch n vocabulary"] | None = None,
    ) -> None:
        """Add a row to `sure`, for tokens that were reached and the logits that they give."""
        known = torch.ones(tokens.shape, device=tokens.device)
        if self.sure:
            drawn = self.law.gather(-1, tokens[..., None]).squeeze(-1)
            known = drawn.where(self.hidden, self.sure[-1])
        self.hidden, self.law = tokens == MASK, None if logits is None else logits.softmax(-1)
        self.sure.append(known if logits is None else self.law.amax(-1).where(self.hidden, known))

    def __call__(
        self, tokens: Int[Tensor, "batch n"], t: Tensor
    ) -> Float[Tensor, "masked vocabulary"]:
        """Probabilities of the words behind the masks, in float64, a row a mask."""
        self.calls += 1
        logits = self.model.logits(tokens)
        if self.record:
            self.note(tokens, logits)
        return nucleus(logits[tokens == MASK], self.temperature, self.top_p)


def ancestral(
    predict, tokens: Int[Tensor, "batch n"], t: Tensor, s: Tensor, rng: torch.Generator
) -> Int[Tensor, "batch n"]:
    """The exact reverse step from time t to s: each mask becomes a word with probability (s - t) / (1 - t).

    Args: `predict`, (tokens, t) -> laws of the masked positions; `tokens`; `t`, `s`; `rng`. Returns the tokens at s.
    Derived in chapter 09. Source: masked diffusion, MDLM 2406.07524.
    """
    words = categorical(predict(tokens, t), rng).to(tokens.device)
    shown = torch.rand(words.shape, generator=rng, device=words.device) < (s - t) / (1 - t)
    return tokens.masked_scatter(tokens == MASK, words.where(shown, MASK))


def top_probability(
    law: Float[Tensor, "masked vocabulary"], words: Int[Tensor, " masked"]
) -> Float[Tensor, " masked"]:
    """How sure a position is: the probability of the word that was drawn, which favors probable
    words over the law.
    """
    return law.gather(1, words[:, None]).squeeze(1)


def margin(
    law: Float[Tensor, "masked vocabulary"], words: Int[Tensor, " masked"]
) -> Float[Tensor, " masked"]:
    """How sure a position is: by how much its most probable word leads, whatever was drawn."""
    first, second = law.topk(2, dim=1).values.T
    return first - second


def reveal_best(score, masks: Int[Tensor, "batch 1"]):
    """The step that reveals the surest positions, until of m masks at the start round(m (1 - s))
    are left at time s.

    Args:
        score: (law, drawn words) -> how sure each position is.
        masks: m of each text.

    Returns:
        A step for `integrate`.

    Source: MaskGIT 2202.04200; margins 2502.06768.
    """

    def step(predict, tokens, t, s, rng):
        hidden, law = tokens == MASK, predict(tokens, t)
        words = categorical(law, rng)
        sure = law.new_full(tokens.shape, -torch.inf).masked_scatter(
            hidden.to(law.device), score(law, words)
        )
        rank = sure.argsort(dim=1, descending=True).argsort(dim=1).to(tokens.device)
        shown = rank < hidden.sum(1, keepdim=True) - (masks * (1 - s)).round()
        return torch.where(
            hidden & shown, tokens.masked_scatter(hidden, words.to(tokens.device)), tokens
        )

    return step
