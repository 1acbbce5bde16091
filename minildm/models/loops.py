"""Every writer as plant, law and clock, so that `control.feedback` can run, kick and replay it as
it does a pendulum.

In latent space the state is (batch, n, d), a control is a velocity, and the plant is `transport`.
In the space of words the state is (batch, n) ids, and a control says which word to write where: -1
writes none. All randomness of words is drawn beforehand, so that two runs see the same noise; steps
in latent space that draw are handed their generator by `kick`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.feedback import Law
from ..dynamics.records import Field
from ..dynamics.solvers import Step
from ..errors import UserError
from ..transport.diffusion import SAMPLERS, ClosedLoop, sampler, straight_step
from ..transport.grids import warped_grid
from ..transport.heads import clean_from_velocity, velocity_from_clean
from ..transport.schedules import Schedule
from ..transport.staggering import staggered_grid
from .base import BOS, EOS, MASK, PAD, LanguageModel, check_request, gumbel
from .gpt import GPT
from .ldlm import LDLM
from .manta import DRAWN, SHARES, Manta
from .masked import Masked
from .policy import Policy

READ = 512  # texts read off at a time


@dataclass(frozen=True)
class Loop:
    """What `control.feedback.rollout` needs to write texts with a model, and how to read a state as
    words.
    """

    law: Law
    start: Tensor  # (batch, n, d) latents or (batch, n) words
    times: Float[Tensor, "time ..."]
    step: Step
    read: Callable[
        [Tensor], tuple[Tensor, Tensor]
    ]  # (time, batch, ...) clean latents or words -> words, their probabilities
    end: Callable[[Tensor, Tensor, Tensor], Tensor] | None = (
        None  # (state, control, time) -> the end it implies; of latents
    )


class Remembering:
    """A denoiser as a law (z, t) -> u that is shown its last z_hat; its memory is cut where time
    goes back.
    """

    def __init__(self, clean: Callable[[Tensor, Tensor, Tensor], Tensor], schedule: Schedule):
        self.clean, self.schedule, self.seen = clean, schedule, []

    def __call__(self, z: Float[Tensor, "b m d"], t: Tensor) -> Float[Tensor, "b m d"]:
        while self.seen and self.seen[-1][0] >= t:
            self.seen.pop()
        each = t.expand(len(z))
        clean = self.clean(z, each, self.seen[-1][1] if self.seen else torch.zeros_like(z))
        self.seen.append((t, clean))
        return velocity_from_clean(self.schedule, z, clean, each)


class Implied(ClosedLoop):
    """A velocity field that also says which clean latents its velocity implies, as the samplers of
    LDLM ask for them.
    """

    def __init__(self, field: Field, schedule: Schedule):
        self.field, self.schedule = field, schedule

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        return self.field(z, t)

    def clean(self, z: Tensor, t: Tensor) -> Tensor:
        return clean_from_velocity(self.schedule, z, self.field(z, t), t.expand(len(z)))


def each(
    read: Callable[[Tensor], tuple[Tensor, Tensor]],
    given: Int[Tensor, "b n"],
    known: Bool[Tensor, "b n"],
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """A reader of texts (batch, ...) as one of paths (time, batch, ...); `known` words are as they
    were `given`.
    """

    def over(states: Tensor) -> tuple[Tensor, Tensor]:
        words, sure = (
            torch.cat(parts).unflatten(0, states.shape[:2])
            for parts in zip(*map(read, states.flatten(0, 1).split(READ)))
        )
        return given.where(known, words), sure.masked_fill(known, 1.0)

    return over


def begun(
    prompt: Int[Tensor, "#b p"] | None, count: int, length: int, device
) -> tuple[Tensor, Tensor]:
    """Texts (count, length) that begin with the prompt, padded, and where they are known."""
    check_request(count, length, prompt)
    given = torch.full((count, length), PAD, device=device)
    known = torch.zeros(count, length, dtype=torch.bool, device=device)
    if prompt is not None:
        given[:, : prompt.shape[1]] = prompt
        known[:, : prompt.shape[1]] = True
    return given, known


def write(
    field: Field, tokens: Int[Tensor, "b n"], t: Tensor, s: Tensor, rng=None
) -> Int[Tensor, "b n"]:
    """The step of a text whose control says which words to write: w_s = u where u >= 0, else w_t.

    Args:
        field: (tokens, t) -> u (b, n), -1 where nothing is written.

    Returns:
        The tokens at s.
    """
    words = field(tokens, t)
    return words.where(words >= 0, tokens)


@singledispatch
def loop_of(
    model: LanguageModel,
    count: int,
    seed: int,
    steps: int = 32,
    solver: str = "ancestral",
    lag: float | None = None,
    prompt: Int[Tensor, "#b p"] | None = None,
) -> Loop:
    """A model's loop for `count` texts, as its `generate` runs it at its own temperature.

    Args:
        model: Of the four kinds.
        count: How many.
        seed: Of the start and of the noise of words.
        steps: Of a GPT always as many as there are words.
        solver: One of `solvers_of` the model.
        lag: Of a Manta-LM, by default its own.
        prompt: How the texts begin.

    Returns:
        A `Loop`.

    Raises:
        UserError: On another kind of model or an unknown solver.
    """
    raise UserError(
        f"a {type(model).__name__} does not write in steps: give a GPT, a masked model, an LDLM or a Manta-LM"
    )


def solvers_of(model: LanguageModel) -> tuple[str, ...]:
    """The solvers that the loop of a model knows; a GPT and a masked model have their one way to
    draw words.

    Args:
        model: The model.

    Returns:
        Names.
    """
    return (
        tuple(SAMPLERS)
        if isinstance(model, LDLM)
        else tuple(SHARES)
        if isinstance(model, Manta)
        else ("ancestral",)
    )


def check_solver(model: LanguageModel, solver: str) -> None:
    """Refuse a solver that the loop of a model does not know."""
    if solver not in solvers_of(model):
        raise UserError(
            f"the loop of a {type(model).__name__} has no solver {solver!r}: "
            f"choose one of {', '.join(solvers_of(model))}"
        )


@loop_of.register
def _(model: LDLM, count, seed, steps=32, solver="ancestral", lag=None, prompt=None):
    check_solver(model, solver)
    c, method = model.config, sampler(solver, model.config.writing_temperature)
    given, known = begun(prompt, count, c.length, model.device)
    clean = model.clean if prompt is None else model.reminded(model.clean, given, known)
    rng = torch.Generator(model.device).manual_seed(seed)
    z = torch.randn(
        count, -(-c.length // c.compression), c.latent, generator=rng, device=model.device
    )

    def step(field, z, t, s, rng):
        return method(Implied(field, model.schedule), z, t, s, rng)

    def end(z, u, t):
        return clean_from_velocity(model.schedule, z, u, t.expand(len(z)))

    return Loop(
        Remembering(clean, model.schedule),
        z,
        warped_grid(model.time, steps, model.device),
        step,
        each(lambda clean: model.read_off(clean, c.length), given, known),
        end,
    )


@loop_of.register
def _(model: Manta, count, seed, steps=32, solver="ancestral", lag=None, prompt=None):
    check_solver(model, solver)
    c, rng = model.config, torch.Generator(model.device).manual_seed(seed)
    z = torch.randn(count, c.length, c.space.latent, generator=rng, device=model.device)
    given, known = begun(prompt, count, c.length, model.device)
    z = model.space.encode(given, rng).where(known[..., None], z)
    times = model.time.warp(staggered_grid(steps, c.writing_lag if lag is None else lag, ~known))
    law = Policy(
        model, temperature=c.writing_temperature, seed=seed + 3 if solver in DRAWN else None
    )
    return Loop(
        law,
        z,
        times,
        straight_step(SHARES[solver]),
        each(model.space.read_off, given, known),
        lambda z, u, t: z + (1 - t) * u,
    )


@loop_of.register
def _(model: GPT, count, seed, steps=None, solver="ancestral", lag=None, prompt=None):
    check_solver(model, solver)
    n, vocabulary = model.config.length, model.config.vocabulary
    tokens, known = begun(
        torch.tensor([[BOS]]) if prompt is None else prompt, count, n, model.device
    )
    noise, first = gumbel((count, n, vocabulary), seed, model.device), int(known[0].sum())

    def law(tokens, t):
        i = round(float(t) * (n - 1)) + 1
        before, u = tokens[:, :i], torch.full_like(tokens, -1)
        word = (model.logits(before)[:, -1].log_softmax(-1) + noise[:, i]).argmax(-1)
        if i >= first:
            u[:, i] = word.masked_fill((before == EOS).any(1), PAD)
        return u

    def read(states):
        """Each word's probability after those before it, which do not change: the last text has
        them all.
        """
        last = states[-1]
        p = model.logits(last)[:, :-1].softmax(-1).gather(-1, last[:, 1:, None])[..., 0]
        return states, torch.cat((torch.ones_like(p[:, :1]), p), 1).expand(states.shape)

    return Loop(law, tokens, torch.linspace(0, 1, n, device=model.device), write, read)


@loop_of.register
def _(model: Masked, count, seed, steps=32, solver="ancestral", lag=None, prompt=None):
    check_solver(model, solver)
    n, vocabulary = model.config.length, model.config.vocabulary
    noise = gumbel((count, n, vocabulary), seed, model.device)
    arrival = torch.rand(
        count, n, generator=torch.Generator(model.device).manual_seed(seed + 1), device=model.device
    )
    turn = (
        arrival * steps
    ).long()  # a mask is lifted from t to s with probability (s - t)/(1 - t), as `ancestral` does

    def law(tokens, t):
        word = (model.logits(tokens).log_softmax(-1) + noise).argmax(-1)
        return word.where((turn == round(float(t) * steps)) & (tokens == MASK), -1)

    def read(tokens):
        """Each mask's best word's probability; each word's among all but itself, as if it were
        behind a mask.
        """
        p = model.logits(tokens).softmax(-1)
        return tokens, p.amax(-1).where(tokens == MASK, p.gather(-1, tokens[..., None])[..., 0])

    given, known = begun(prompt, count, n, model.device)
    return Loop(
        law,
        given.masked_fill(~known, MASK),
        torch.linspace(0, 1, steps + 1, device=model.device),
        write,
        each(read, given, known),
    )
