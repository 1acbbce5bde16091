"""The samplers on relaxed states, with their randomness fixed, so that they can be differentiated.

Tokens become points of the simplex, and the latents of an LDLM carry their self-condition along.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double, uniform
from ..dynamics.records import Field, Trajectory
from ..dynamics.solvers import Step, integrate
from ..models.base import LanguageModel, gumbel_noise
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.masked import MaskedDiffusion
from ..tokens import BOS, MASK, PAD
from ..transport.diffusion import ClosedLoop, ddim
from ..transport.grids import warped_grid

Choice = Callable[[Tensor], Tensor]  # noisy scores (..., vocab_size) -> points of the simplex


def hard(scores: Float[Tensor, "... vocab_size"]) -> Float[Tensor, "... vocab_size"]:
    """The token of highest score, as a corner of the simplex.

    e_w, w = argmax score; its derivative is 0 wherever it exists. With Gumbel noise in the scores
    it is an exact draw from their softmax.

    Args:
        scores: (..., vocab_size).

    Returns:
        One-hot rows.
    """
    return F.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores.dtype)


def soft(temperature: float) -> Choice:
    """The relaxed choice, softmax(score / temperature), which is `hard` at temperature 0.

    Args:
        temperature: > 0.

    Returns:
        A choice.

    Source: Gumbel-softmax 1611.01144.
    """
    return lambda scores: (scores / temperature).softmax(-1)


def straight_through(temperature: float) -> Choice:
    """The token of `hard` with the derivative of `soft`, which is biased but not zero.

    Args:
        temperature: > 0.

    Returns:
        A choice.

    Source: 1308.3432; Gumbel-softmax 1611.01144.
    """

    def choose(scores: Tensor) -> Tensor:
        relaxed = soft(temperature)(scores)
        return relaxed + (hard(scores) - relaxed).detach()

    return choose


@dataclass
class RelaxedProcess:
    """A sampler whose randomness is fixed: from `start` over `times` by `step`.

    The state is (batch, n, channels): points of the simplex for tokens, (latent, self-condition)
    for latents. Its first `moving` channels are the state proper. A position is written, for good,
    in the step that reaches its `arrival`.
    """

    field: Field  # (z, t) -> what the network says
    step: Step
    start: Float[Tensor, "batch n channels"]
    times: Float[Tensor, " time"]
    scores: Callable[[Tensor], Tensor]  # z -> scores of the tokens (batch, length, vocab_size)
    arrival: Float[Tensor, "batch n"]  # infinite where nothing is ever final
    moving: int

    def run(self) -> Trajectory:
        """The recorded path of the sampler, without derivatives."""
        with torch.no_grad():
            return integrate(self.field, self.start, self.times, self.step)

    def kept(self, k: int) -> Float[Tensor, "batch n one"]:
        """1 where the token had been written before times[k], else 0."""
        return (self.arrival < self.times[k]).to(self.start.dtype)[..., None]

    def decode(self, z: Float[Tensor, "batch n channels"]) -> Int[Tensor, "batch length"]:
        """The most probable tokens of a state."""
        return self.scores(z).argmax(-1)


@singledispatch
def relaxed(
    model: LanguageModel, count: int, steps: int, rng: torch.Generator, choice: Choice = hard
) -> RelaxedProcess:
    """The relaxed sampler of a model, from nothing; a GPT begins with <bos>.

    Args:
        model: A GPT, a masked model or an LDLM.
        count: Number of texts.
        steps: Number of steps, which a GPT does not use.
        rng: Generator of the randomness that is fixed.
        choice: Of tokens, which an LDLM does not make.

    Returns:
        A `RelaxedProcess`.
    """
    raise NotImplementedError(f"no relaxed sampler is registered for {type(model).__name__}")


@relaxed.register
def relaxed_text(
    model: GPT | MaskedDiffusion,
    count: int,
    steps: int,
    rng: torch.Generator,
    choice: Choice = hard,
) -> RelaxedProcess:
    """A masked model begins with <mask> everywhere; a GPT draws a token a step, behind <bos>."""
    tokens = torch.full((count, model.config.seq_len), MASK, device=model.device)
    if model.causal:
        tokens[:, 0] = BOS
    return relaxed_tokens(model, tokens, steps, rng, choice)


@relaxed.register
def relaxed_ldlm(
    model: LDLM, count: int, steps: int, rng: torch.Generator, choice: Choice = hard
) -> RelaxedProcess:
    """An LDLM carries noise over its time grid."""
    length = model.config.seq_len
    shape = count, -(-length // model.config.compression), model.config.latent
    z0 = torch.randn(shape, generator=rng, device=model.device)
    return relaxed_latents(model, z0, warped_grid(model.time, steps, model.device), length)


def relaxed_tokens(
    model: GPT | MaskedDiffusion,
    tokens: Int[Tensor, "batch n"],
    steps: int,
    rng: torch.Generator,
    choice: Choice = hard,
) -> RelaxedProcess:
    """The sampler of a model of tokens: where `tokens` has <mask>, one is chosen at its arrival.

    z_{k+1, i} = choice(scores_i(z_k) + gumbel_i) if t_k <= arrival_i < t_{k+1}, else z_{k, i}

    The arrivals of a masked model are uniform, which is its ancestral sampler; those of a GPT go
    from left to right, one a step. Hard choices are exact draws; what a GPT writes behind <eos> is
    not part of its text.

    Args:
        model: The model.
        tokens: (batch, n); those of a GPT have <mask> only behind a prefix of one length.
        steps: Number of steps, which a GPT does not use.
        rng: Generator of the randomness that is fixed.
        choice: How a token is chosen from noisy scores.

    Returns:
        A `RelaxedProcess`.

    Derived in chapter 09.
    """
    batch, n = tokens.shape
    masked = tokens == MASK
    vocab_size = model.config.vocab_size
    noise = gumbel_noise(uniform(batch, n, vocab_size, rng=rng))
    if model.causal:
        steps = int(masked[0].sum())
        arrival = (masked.cumsum(1) - 0.5) / steps
        tokens = tokens.masked_fill(masked, PAD)
    else:
        arrival = uniform(batch, n, rng=rng)
    arrival = arrival.float().to(tokens.device).masked_fill(~masked, -1.0)

    def predict(z: Tensor, t: Tensor) -> Tensor:
        return model.relaxed_logits(z)

    def step(
        field: Field, z: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        now = (t <= arrival) & (arrival < s)
        scores = double(field(z, t)[now]) + noise[now.to(noise.device)]
        return z.masked_scatter(now[..., None], choice(scores.to(z)))

    start = F.one_hot(tokens, vocab_size).float()
    times = torch.linspace(0, 1, steps + 1)
    return RelaxedProcess(predict, step, start, times, lambda z: z, arrival, vocab_size)


def relaxed_latents(
    model: LDLM,
    z: Float[Tensor, "batch m latent"],
    times: Float[Tensor, " time"],
    length: int,
) -> RelaxedProcess:
    """The DDIM sampler of an LDLM, whose state also holds the last prediction of its end.

    c' = f(z, t, c),  z' = a_s c' + b_s (z - a_t c') / b_t

    Args:
        model: The model.
        z: (batch, m, latent) at times[0].
        times: (time,), up to 1.
        length: Of the text in tokens.

    Returns:
        A `RelaxedProcess`.

    Source: DDIM.
    """
    latent = z.shape[-1]

    def predict(state: Tensor, t: Tensor) -> Tensor:
        return model.denoise(state[..., :latent], t.expand(len(state)), state[..., latent:])

    def step(
        field: Field, state: Tensor, t: Tensor, s: Tensor, rng: torch.Generator | None = None
    ) -> Tensor:
        denoised = field(state, t)
        constant = ClosedLoop(lambda z, t, c: denoised, model.schedule, denoised)
        return torch.cat((ddim(constant, state[..., :latent], t, s), denoised), dim=-1)

    def scores(state: Tensor) -> Tensor:
        return model.token_logits(state[..., :latent], length)

    start = torch.cat((z, torch.zeros_like(z)), dim=-1)
    never = z.new_full(z.shape[:2], torch.inf)
    return RelaxedProcess(predict, step, start, times, scores, never, latent)
