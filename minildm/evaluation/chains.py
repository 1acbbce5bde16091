"""Samplers as controlled systems: z_{k+1} = F_k(z_k) with the randomness drawn beforehand, one code
path for all models.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double, uniform
from ..dynamics.records import Field, Trajectory
from ..dynamics.solvers import Step, integrate
from ..models.base import BOS, MASK, PAD, LanguageModel
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.masked import Masked

Choice = Callable[
    [Tensor], Tensor
]  # scores with noise (..., vocabulary) -> a point of the simplex (..., vocabulary)


def hard(scores: Float[Tensor, "... vocabulary"]) -> Float[Tensor, "... vocabulary"]:
    """The word of highest score, as a corner of the simplex; with Gumbel noise in the scores an
    exact draw of softmax.

    e_w, w = argmax score; its derivative is 0 wherever it exists

    Args:
        scores: (..., vocabulary).

    Returns:
        One-hot rows.

    Derived in chapter 09.
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
    """The word of `hard` with the derivative of `soft`: right forward, wrong but not zero backward.

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
class Chain:
    """A sampler whose randomness is fixed: from `start` over `times` by `step`, as `integrate`
    takes them.

    The state is (batch, n, channels): points of the simplex for words, (latent, self-condition) for
    latents. Its first `moving` channels are the state proper. A position is written, for good, in
    the step that reaches its `arrival`.
    """

    field: Field  # (z, t) -> what the network says
    step: Step
    start: Float[Tensor, "batch n channels"]
    times: Float[Tensor, " time"]
    scores: Callable[
        [Tensor], Tensor
    ]  # z -> scores of the words at each position (batch, length, vocabulary)
    arrival: Float[Tensor, "batch n"]  # infinite where nothing is ever final
    moving: int

    def run(self) -> Trajectory:
        """The recorded path of the sampler, without derivatives."""
        with torch.no_grad():
            return integrate(self.field, self.start, self.times, self.step)

    def kept(self, k: int) -> Float[Tensor, "batch n one"]:
        """1 where the word had been written before times[k], else 0."""
        return (self.arrival < self.times[k]).to(self.start.dtype)[..., None]

    def words(self, z: Float[Tensor, "batch n channels"]) -> Int[Tensor, "batch length"]:
        """The most probable words of a state."""
        return self.scores(z).argmax(-1)


def predict_words(
    model: GPT | Masked, z: Float[Tensor, "batch n vocabulary"]
) -> Float[Tensor, "batch n vocabulary"]:
    """Scores of the word at each position, from words that need not be pure: the models' `logits`
    on mixtures of embeddings.

    GPT: position i from those before it, scores_0 = 0; masked: from all, never <mask>

    Args:
        model: The model.
        z: (batch, n, vocabulary), points of the simplex.

    Returns:
        Scores.

    Derived in chapter 09.
    """
    x = model.mix(z @ model.embedding.weight * model.config.width**0.5)
    logits = model.stack(x, causal=isinstance(model, GPT)) @ model.embedding.weight.T
    if isinstance(model, GPT):
        return F.pad(logits[:, :-1], (0, 0, 1, 0))
    return logits.index_fill(-1, torch.tensor([MASK], device=z.device), -torch.inf)


def token_chain(
    model: GPT | Masked,
    tokens: Int[Tensor, "batch n"],
    steps: int,
    rng: torch.Generator,
    choice: Choice = hard,
) -> Chain:
    """The sampler of a model of words: where `tokens` has <mask>, a word is chosen in the step that reaches its arrival.

    z_{k+1, i} = choice(scores_i(z_k) + gumbel_i) if t_k <= arrival_i < t_{k+1}, else z_{k, i}
    A masked model's arrivals are uniform, which is its ancestral sampler; GPT's go from left to right, one a step, so that
    `steps` is not used. Hard choices are exact draws; what GPT writes behind <eos> is not part of its text.
    Args: `model`; `tokens` (batch, n), GPT's with <mask> only behind a prefix as long in each row; `steps`; `rng`; `choice`.
    Returns a `Chain`. Derived in chapter 09. Source: ours.
    """
    batch, n = tokens.shape
    hidden, size = tokens == MASK, model.config.vocabulary
    gumbel = -(-uniform(batch, n, size, rng=rng).log()).log()
    if isinstance(model, GPT):
        steps = int(hidden[0].sum())
        arrival = (hidden.cumsum(1) - 0.5) / steps
        tokens = tokens.masked_fill(hidden, PAD)
    else:
        arrival = uniform(batch, n, rng=rng)
    arrival = arrival.float().to(tokens.device).masked_fill(~hidden, -1.0)

    def step(field: Field, z: Tensor, t: Tensor, s: Tensor, _) -> Tensor:
        now = (t <= arrival) & (arrival < s)
        return z.masked_scatter(
            now[..., None], choice((double(field(z, t)[now]) + gumbel[now.to(gumbel.device)]).to(z))
        )

    return Chain(
        lambda z, t: predict_words(model, z),
        step,
        F.one_hot(tokens, size).float(),
        torch.linspace(0, 1, steps + 1),
        lambda z: z,
        arrival,
        size,
    )


def latent_chain(
    model: LDLM, z: Float[Tensor, "batch m latent"], times: Float[Tensor, " time"], length: int
) -> Chain:
    """The DDIM sampler of an LDLM; its state is the latents with the last prediction of their end,
    the self-condition.

    c' = f(z, t, c),  z' = a_s c' + b_s (z - a_t c') / b_t

    Args:
        model: The model.
        z: (batch, m, latent) at times[0].
        times: (time,), up to 1.
        length: Of the text.

    Returns:
        A `Chain`.

    Derived in chapter 09. Source: DDIM.
    """
    latent, a, b = z.shape[-1], model.schedule.a, model.schedule.b

    def predict(state: Tensor, t: Tensor) -> Tensor:
        return model.clean(state[..., :latent], t.expand(len(state)), state[..., latent:])

    def step(field: Field, state: Tensor, t: Tensor, s: Tensor, _) -> Tensor:
        clean = field(state, t)
        moved = a(s) * clean + b(s) * (state[..., :latent] - a(t) * clean) / b(t)
        return torch.cat((moved, clean), dim=-1)

    def scores(state: Tensor) -> Tensor:
        return model.token_decoder(model.decode(state[..., :latent], length))

    return Chain(
        predict,
        step,
        torch.cat((z, torch.zeros_like(z)), dim=-1),
        times,
        scores,
        z.new_full(z.shape[:2], torch.inf),
        latent,
    )


def chain_of(
    model: LanguageModel, count: int, steps: int, rng: torch.Generator, choice: Choice = hard
) -> Chain:
    """The sampler of any model, writing from nothing, GPT from <bos>.

    Args:
        model: The model.
        count: Of texts.
        steps: Which GPT does not use.
        rng: Generator of the random numbers.
        choice: Of words, which an LDLM does not make.

    Returns:
        A `Chain`.
    """
    length = model.config.length
    if isinstance(model, LDLM):
        shape = count, -(-length // model.config.compression), model.config.latent
        z0 = torch.randn(shape, generator=rng, device=model.device)
        times = model.time.warp(torch.linspace(0, 1, steps + 1, device=model.device)).clamp(0, 1)
        return latent_chain(model, z0, times, length)
    tokens = torch.full((count, length), MASK, device=model.device)
    if isinstance(model, GPT):
        tokens[:, 0] = BOS
    return token_chain(model, tokens, steps, rng, choice)
