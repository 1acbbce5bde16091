"""Kicked texts: push the state of a writer once, and go on with the loop closed or by the recorded
plan.

All four kinds of models go through `control.feedback.kick`, as the pendulum of chapter 03 does. In
latent space a push is a displacement of all coordinates under way; in the space of words it
replaces written words by others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..control.feedback import Kick, kick, rollout, transport
from ..dynamics.records import Trajectory
from ..models.base import BOS, PAD, LanguageModel
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.loops import Loop, loop_of, solvers_of
from ..models.manta import Manta
from ..text.nearest import legal
from ..text.tokenizers import Tokenizer
from .editing import SPECIALS
from .scorecard import validity

PER_TEXT = 1_000_003  # keeps the noise of directions apart from that of texts


def displacement(
    state: Float[Tensor, "b n d"], t: Tensor, size: float | int, rng: torch.Generator
) -> Float[Tensor, "b n d"]:
    """A push in a random direction whose root mean square, over the coordinates that are under way, is `size`.

    Positions are under way where 0 < t < 1. Latents have std 1, so that `size` counts latent stds.
    Args: `state` (b, n, d); `t`, scalar or (b, n, 1); `size`; `rng`. Returns (b, n, d). Derived in chapter 13. Source: ours.
    """
    xi = torch.randn(state.shape, generator=rng, device=state.device)
    moving = ((t > 0) & (t < 1)).expand_as(state)
    xi = xi * moving
    count = moving.flatten(1).sum(1).clamp(min=1)[:, None, None]
    return size * xi / (xi.square().sum((1, 2), keepdim=True) / count).sqrt().clamp(min=1e-9)


def other_words(
    tokens: Int[Tensor, "b n"], count: int, vocabulary: int, rng: torch.Generator
) -> Int[Tensor, "b n"]:
    """What to add to the ids of `count` written words of each text to make them other words, all alike likely.

    Args: `tokens`; `count`, or as many as are written; `vocabulary`; `rng`. Returns differences of ids (b, n).
    Derived in chapter 13. Source: ours.
    """
    written = tokens >= SPECIALS
    order = torch.rand(tokens.shape, generator=rng, device=tokens.device).masked_fill(~written, 2.0)
    chosen = (order.argsort(1).argsort(1) < count) & written
    words = vocabulary - SPECIALS
    turned = (
        SPECIALS
        + (
            tokens
            - SPECIALS
            + torch.randint(1, words, tokens.shape, generator=rng, device=tokens.device)
        )
        % words
    )
    return (turned - tokens) * chosen


@torch.no_grad()
def kicked(
    model: LanguageModel,
    count: int,
    *,
    seed: int = 0,
    moment: float = 0.5,
    size: float | int = 1.0,
    direction: int = 0,
    record: bool = True,
    **how,
) -> Kick:
    """Write texts; push them once; go on with the loop closed, and by the recorded controls.

    Args:
        model: Of any of the four kinds.
        count: Of texts.
        seed: Of start and noise, the same for all three paths.
        moment: In (0, 1): the push comes when the mean clock of the positions is nearest to it.
        size: In latent stds, or in written words to be replaced.
        direction: A seed.
        record: Else paths have only states.
        how: : steps, solver, lag and prompt of `loop_of`.

    Returns:
        A `Kick` whose paths have tokens, confidence, and for latent models the clean latents that
        each control implies.

    Raises:
        UserError: As `loop_of` does.
    """
    loop = loop_of(model, count, seed, **how)
    clock = torch.stack([t.mean() for t in loop.times])
    at = min(max(int((clock - moment).abs().argmin()), 1), len(clock) - 2)
    rng = torch.Generator(model.device).manual_seed(PER_TEXT * (direction + 1) + seed)

    def push(state: Tensor) -> Tensor:
        if loop.end is None:
            return other_words(state, round(size), model.config.vocabulary, rng)
        return displacement(state, loop.times[at], size, rng)

    found = kick(
        transport,
        loop.law,
        loop.start,
        loop.times,
        at,
        push,
        loop.step,
        torch.Generator(model.device).manual_seed(seed + 2),
    )
    if not record:
        return found
    plan = tell(model, loop, found.plan, found.controls[0])
    closed, replayed = (
        tell(model, loop, path, found.controls[i], plan, at)
        for path, i in ((found.closed, 1), (found.replayed, 0))
    )
    return Kick(plan, closed, replayed, at, found.controls)


@torch.no_grad()
def unkicked(model: LanguageModel, count: int, *, seed: int = 0, **how) -> Trajectory:
    """The plan of `kicked` alone: texts that are left alone on their way.

    Args:
        model, count, seed, how: As for `kicked`.

    Returns:
        The path with tokens and confidence.

    Raises:
        UserError: As `loop_of` does.
    """
    loop = loop_of(model, count, seed, **how)
    run = rollout(
        transport,
        loop.law,
        loop.start,
        loop.times,
        loop.step,
        torch.Generator(model.device).manual_seed(seed + 2),
    )
    return tell(model, loop, run.path, run.controls)


def tell(
    model: LanguageModel,
    loop: Loop,
    path: Trajectory,
    controls: Tensor,
    past: Trajectory | None = None,
    at: int = 0,
) -> Trajectory:
    """A path with its words: read off the ends that its controls imply, or written; states of words
    are their embeddings.

    Before the time `at` it is the `past`, which was told already.
    """
    states, latent = path.states[at:], loop.end is not None
    clean = (
        [loop.end(z, u, t) for z, u, t in zip(states, controls[at:], path.times[at:])]
        if latent
        else []
    )
    ends = torch.stack([*clean, states[-1]]) if latent else states
    parts = [states if latent else model.embed(states), ends if latent else None, *loop.read(ends)]
    if past:
        before = (past.states, past.clean, past.tokens, past.confidence)
        parts = [
            None if new is None else torch.cat((old[:at], new)) for old, new in zip(before, parts)
        ]
    return Trajectory(path.times, *parts)


@torch.no_grad()
def last_words(model: LanguageModel, path: Trajectory) -> Int[Tensor, "b n"]:
    """The words at the end of a path of `kicked`, told or not.

    Args:
        model: The model.
        path: The path.

    Returns:
        Tokens (b, n).
    """
    if path.tokens is not None:
        return path.tokens[-1]
    if not path.states.is_floating_point():
        return path.states[-1]
    last = path.states[-1]
    return (
        model.read_off(last, model.config.length)
        if isinstance(model, LDLM)
        else model.space.read_off(last)
    )[0]


def agreement(words: Int[Tensor, "b n"], plan: Int[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """The share of positions, padding of both left out, at which two texts have the same word.

    Args: `words`, `plan`. Returns shares (b,). Derived in chapter 13. Source: ours.
    """
    there = (words != PAD) | (plan != PAD)
    return ((words == plan) & there).sum(1) / there.sum(1).clamp(min=1)


def outcome(model: LanguageModel, paths: Kick, tokenizer: Tokenizer) -> dict[str, dict[str, float]]:
    """What became of the texts of a kick: agreement with the plan, right sentences and tales, the
    rest of the displacement.

    Args:
        model: The model.
        paths: Of `kicked`.
        tokenizer: The tokenizer.

    Returns:
        {path: {measure: mean over texts}}; "left" is the root mean square of the displacement at
        the end over that at the push, of latents only.
    """
    plan, words, found = paths.plan, last_words(model, paths.plan), {}
    for name in ("plan", "closed", "replayed"):
        path = getattr(paths, name)
        said = last_words(model, path)
        shares = validity([tokenizer.decode(row) for row in said.tolist()])
        found[name] = {
            "agreement": float(agreement(said, words).mean()),
            "grammatical": shares["grammatical"],
            "consistent": shares["consistent"],
        }
        if name != "plan" and isinstance(model, LDLM | Manta):
            size = (path.states - plan.states).flatten(2).square().mean(2).sqrt()
            found[name]["left"] = float((size[-1] / size[paths.at].clamp(min=1e-9)).mean())
    return found


@dataclass
class Writer:
    """A model as the explorer of trajectories wants it: its paths, the cloud of real texts, and its
    log-SNR, if it has one.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    real: Int[Tensor, "texts n"]  # tokens of real texts
    count: int = 4
    cloud: Float[Tensor, "texts n d"] = field(init=False)
    log_snr: Callable[[Tensor], Tensor] | None = field(init=False, default=None)
    solvers: tuple[str, ...] = field(init=False)
    stepped: bool = field(init=False)  # whether it can write in another number of steps

    def __post_init__(self):
        model, self.solvers = self.model, solvers_of(self.model)
        self.stepped = not isinstance(model, GPT)
        with torch.no_grad():
            if isinstance(model, LDLM):
                self.cloud = model.encode(model.hidden(self.real))
            else:
                self.cloud = (
                    model.space.encode(self.real)
                    if isinstance(model, Manta)
                    else model.embed(self.real)
                )
        if isinstance(model, LDLM | Manta):
            self.log_snr = model.schedule.log_snr

    def paths(
        self,
        prompt: str,
        solver: str,
        steps: int,
        seed: int,
        moment: float,
        size: float | int,
        direction: int,
    ) -> tuple[tuple[Trajectory, ...], int]:
        """The plan, with a kick also the closed loop and the replay, and the index of the kick."""
        begins = (
            torch.tensor([[BOS, *self.tokenizer.encode(legal(prompt, self.tokenizer))]])
            if prompt
            else None
        )
        how = {"seed": seed, "steps": steps, "solver": solver, "prompt": begins}
        if not size:
            return (unkicked(self.model, self.count, **how),), 0
        kick = kicked(self.model, self.count, moment=moment, size=size, direction=direction, **how)
        return (kick.plan, kick.closed, kick.replayed), kick.at

    def pieces(self, ids: list[int]) -> list[str]:
        """Words of ids."""
        return self.tokenizer.pieces(ids)


def clock_after(schedule, t: Float[Tensor, "..."], size: float | int) -> Float[Tensor, "..."]:
    """The time t' at which a state that was pushed at t would be as noisy as it is: a(t')/b(t') =
    a(t) / sqrt(b(t)^2 + size^2).

    A push in a random direction is noise of std `size` on top of that of the path. Scaled by
    a(t')/a(t), the pushed state has the law of the path at t'.

    Args:
        schedule: Of the path.
        t: In (0, 1).
        size: In latent stds.

    Returns:
        t' <= t.
    """
    a, b = schedule.a(t), schedule.b(t)
    return schedule.from_log_snr(2 * (a / (b**2 + size**2).sqrt()).log())


@torch.no_grad()
def set_back(
    model: LanguageModel, paths: Kick, size: float | int, *, seed: int = 0, **how
) -> Int[Tensor, "b n"]:
    """The closed loop of a kick once more, told how hard it was pushed: scale the state, set the
    clocks back, and go on.

    Clocks of positions under way go back to `clock_after` and run to 1 in the steps that are left.

    Args:
        paths: and what `kicked` was given for it, of a latent model.

    Returns:
        The words (b, n).
    """
    loop = loop_of(model, paths.plan.states.shape[1], seed, **how)
    times = loop.times[paths.at :]
    now, moving = times[0], (times[0] > 0) & (times[0] < 1)
    safe = now.where(moving, 0.5)
    before = clock_after(model.schedule, safe, size).to(now.dtype)
    z = paths.closed.states[paths.at]
    z = (z * model.schedule.a(before) / model.schedule.a(safe)).where(moving, z)
    times = (before + (1 - before) * (times - now) / (1 - safe)).where(moving, times)
    rng = torch.Generator(model.device).manual_seed(seed + 3)
    return loop.read(rollout(transport, loop.law, z, times, loop.step, rng).path.states[-1:])[0][0]
