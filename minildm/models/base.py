"""What every language model of the book offers: `losses` for training and `generate` for writing."""

from dataclasses import dataclass, field

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double, generator_on, move
from ..dynamics.records import Trajectory
from ..errors import UserError

PAD, BOS, EOS, MASK = 0, 1, 2, 3  # the fixed ids, equal to text.tokenizers' specials


@dataclass
class Losses:
    """Named scalar terms that are added up and minimized, and detached metrics that are only
    watched.
    """

    terms: dict[str, Tensor]
    metrics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        return sum(self.terms.values())


@dataclass
class Generation:
    """Texts written by a model: tokens (batch, length), network evaluations, seconds, and the
    recorded path if asked for.
    """

    tokens: Int[Tensor, "batch length"]
    calls: int
    seconds: float
    trajectory: Trajectory | None = None


class LanguageModel(nn.Module):
    """A model of token sequences; calling it gives its losses, so that it can be wrapped for data
    parallelism.
    """

    def forward(
        self, tokens: Int[Tensor, "batch length"], *, step: int, rng: torch.Generator
    ) -> Losses:
        return self.losses(tokens, step=step, rng=rng)

    def after_step(self, step: int) -> None:
        """Called once after each optimizer step, on every rank."""

    def _apply(self, fn, recurse: bool = True) -> "LanguageModel":
        """Move and cast weights by `fn`; statistics in buffers move along but keep their precision."""
        statistics, device = (
            {id(buffer): buffer for buffer in self.buffers()},
            fn(torch.zeros(1)).device,
        )
        return super()._apply(lambda x: move(x, device) if id(x) in statistics else fn(x), recurse)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device


def check_request(count: int, length: int, prompt: Tensor | None, steps: int | None = None) -> None:
    """Refuse a request that no model can fulfil, in one sentence.

    Args:
        count: Of texts.
        length: Of a text in tokens.
        prompt: (batch, p), if it must leave room.
        steps: If there are any.

    Raises:
        UserError: On a request that cannot be met.
    """
    if count < 1:
        raise UserError(f"cannot write {count} texts: ask for at least 1")
    if length < 2:
        raise UserError(f"a length of {length} tokens leaves no room for words: ask for at least 2")
    if steps is not None and steps < 1:
        raise UserError(f"cannot sample in {steps} steps: ask for at least 1")
    if prompt is not None and prompt.shape[-1] >= length:
        raise UserError(
            f"the prompt has {prompt.shape[-1]} tokens but the text only {length}: shorten it or raise the length"
        )


def nucleus(
    logits: Float[Tensor, "... vocabulary"], temperature: float = 1.0, top_p: float = 1.0
) -> Float[Tensor, "... vocabulary"]:
    """The law that words are drawn from: tempered softmax cut to its most probable words, in
    float64, see `double`.

    p proportional to exp(logits / temperature) on the smallest set of words with mass >= top_p

    Args:
        logits: (..., vocabulary).
        temperature: > 0, or 0 for the most probable word.
        top_p: In (0, 1].

    Returns:
        Probabilities (..., vocabulary).

    Derived in chapter 00. Source: 1904.09751; float64: 2409.02908.
    """
    if temperature == 0:
        return double(F.one_hot(logits.argmax(-1), logits.shape[-1]))
    law = (double(logits) / temperature).softmax(-1)
    if top_p == 1:
        return law
    ordered, index = law.sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0
    return torch.zeros_like(law).scatter(-1, index, ordered / ordered.sum(-1, keepdim=True))


def categorical(
    law: Float[Tensor, "rows vocabulary"], rng: torch.Generator
) -> Int[Tensor, " rows"]:
    """Words drawn from laws, one a row, on the device of the laws.

    Args:
        law: Of `nucleus`.
        rng: Generator of the random numbers.

    Returns:
        ids (rows,).
    """
    return torch.multinomial(law, 1, generator=generator_on(law.device, rng)).squeeze(1)


def gumbel(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Noise g with argmax(log p + g) ~ p."""
    rng = torch.Generator(device).manual_seed(seed)
    return -(-torch.rand(shape, generator=rng, device=device).clamp(1e-12, 1 - 1e-7).log()).log()


def mean_flat(x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
    """Mean over all axes but the first."""
    return x.flatten(1).mean(1)
