"""Disturbed texts: displace the state of a sampler once, then go on by feedback or by the plan.

All models go through `control.feedback.disturb`, as the pendulum of chapter 03 does. In latent
space a disturbance displaces all coordinates under way; in token space it replaces written tokens.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..control.feedback import Disturbance, disturb, rollout, transport
from ..dynamics.records import Trajectory
from ..models.base import LanguageModel
from ..sampling.process import Process
from ..sampling.sampler import Sampler
from ..text.tokenizers import Tokenizer
from ..tokens import NUM_SPECIALS, PAD
from .scorecard import validity

PER_TEXT = 1_000_003  # keeps the noise of directions apart from that of texts
STEP_NOISE = 2  # added to a seed: the noise of the steps


@dataclass(frozen=True)
class Push:
    """A disturbance of a text on its way."""

    moment: float = 0.5  # in (0, 1): it comes when the mean time of the positions is nearest to it
    size: float | int = 1.0  # in standard deviations of latents, or in written tokens to replace
    direction: int = 0  # a seed


def displacement(
    state: Float[Tensor, "b n d"], t: Tensor, size: float | int, rng: torch.Generator
) -> Float[Tensor, "b n d"]:
    """A displacement in a random direction, of root mean square `size` where positions move.

    Positions are under way where 0 < t < 1. Latents have standard deviation 1.

    Args:
        state: (b, n, d).
        t: Scalar or (b, n, 1).
        size: In standard deviations of latents.
        rng: Generator of the direction.

    Returns:
        (b, n, d).
    """
    xi = torch.randn(state.shape, generator=rng, device=state.device)
    moving = ((t > 0) & (t < 1)).expand_as(state)
    xi = xi * moving
    count = moving.flatten(1).sum(1).clamp(min=1)[:, None, None]
    return size * xi / (xi.square().sum((1, 2), keepdim=True) / count).sqrt().clamp(min=1e-9)


def other_tokens(
    tokens: Int[Tensor, "b n"], count: int, vocab_size: int, rng: torch.Generator
) -> Int[Tensor, "b n"]:
    """What to add to `count` written tokens of each text to make them other tokens, drawn evenly.

    Args:
        tokens: (b, n) ids.
        count: Number of tokens, or as many as are written.
        vocab_size: Number of ids.
        rng: Generator of the places and tokens.

    Returns:
        Differences of ids (b, n).
    """
    written = tokens >= NUM_SPECIALS
    order = torch.rand(tokens.shape, generator=rng, device=tokens.device).masked_fill(~written, 2.0)
    chosen = (order.argsort(1).argsort(1) < count) & written
    words = vocab_size - NUM_SPECIALS
    shift = torch.randint(1, words, tokens.shape, generator=rng, device=tokens.device)
    turned = NUM_SPECIALS + (tokens - NUM_SPECIALS + shift) % words
    return (turned - tokens) * chosen


def solvers_of(model: LanguageModel) -> tuple[str, ...]:
    """The solvers whose texts can be disturbed: their state is latents or tokens alone.

    Args:
        model: The model.

    Returns:
        Names.
    """
    if not model.capabilities.latent:
        return ("ancestral",)
    return tuple(name for name in model.capabilities.solvers if name != "entropy_bounded")


def generator(model: LanguageModel, seed: int) -> torch.Generator:
    """A generator on the model's device."""
    return torch.Generator(model.device).manual_seed(seed)


@torch.no_grad()
def disturbed(
    sampler: Sampler,
    count: int,
    push: Push = Push(),
    *,
    seed: int = 0,
    prompt: Int[Tensor, "#b p"] | None = None,
    record: bool = True,
) -> Disturbance:
    """Draw texts, disturb them once, and go on by feedback and by the recorded controls.

    Args:
        sampler: Of the model; not with solver entropy_bounded.
        count: Number of texts.
        push: The disturbance.
        seed: Of start and noise, the same for all three paths.
        prompt: Tokens that the texts begin with.
        record: Else paths have only states.

    Returns:
        A `Disturbance` whose paths have tokens, confidence, and for latent models the latents that
        each control implies.

    Derived in chapter 13.
    """
    model = sampler.model
    process = sampler.process(count, generator(model, seed), prompt, seed=seed, record=True)
    mean_times = torch.stack([t.mean() for t in process.times])
    nearest = int((mean_times - push.moment).abs().argmin())
    at = min(max(nearest, 1), len(mean_times) - 2)
    rng = generator(model, PER_TEXT * (push.direction + 1) + seed)

    def displace(state: Tensor) -> Tensor:
        process.policy.rewind(process.times[at].mean())
        if process.end is None:
            return other_tokens(state, round(push.size), model.config.vocab_size, rng)
        return displacement(state, process.times[at], push.size, rng)

    found = disturb(
        transport,
        process.policy,
        process.start,
        process.times,
        (at, displace),
        process.step,
        generator(model, seed + STEP_NOISE),
    )
    if not record:
        return found
    plan_controls, closed_controls = found.controls
    plan = described(model, process, found.plan, plan_controls)
    closed = described(model, process, found.closed, closed_controls, plan, at)
    replayed = described(model, process, found.replayed, plan_controls, plan, at)
    return Disturbance(plan, closed, replayed, at, found.controls)


@torch.no_grad()
def undisturbed(
    sampler: Sampler, count: int, *, seed: int = 0, prompt: Int[Tensor, "#b p"] | None = None
) -> Trajectory:
    """The plan of `disturbed` alone: texts that are left alone on their way.

    Args:
        sampler: Of the model.
        count: Number of texts.
        seed: Of start and noise.
        prompt: Tokens that the texts begin with.

    Returns:
        The path with tokens and confidence.
    """
    model = sampler.model
    process = sampler.process(count, generator(model, seed), prompt, seed=seed, record=True)
    rng = generator(model, seed + STEP_NOISE)
    run = rollout(transport, process.policy, process.start, process.times, process.step, rng)
    return described(model, process, run.path, run.controls)


def described(
    model: LanguageModel,
    process: Process,
    path: Trajectory,
    controls: Tensor,
    past: Trajectory | None = None,
    at: int = 0,
) -> Trajectory:
    """A path with its tokens, decoded from the ends its controls imply; before `at` the past's.

    States of tokens are their embeddings.
    """
    states = path.states[at:]
    ends = None
    if process.end is not None:
        steps = zip(states, controls[at:], path.times[at:])
        ends = torch.stack([*(process.end(z, u, t) for z, u, t in steps), states[-1]])
    tokens, confidence = process.read(states if ends is None else ends)
    shown = model.embed(states) if ends is None else states
    new = Trajectory(path.times[at:], shown, ends, tokens, confidence)
    return new if past is None else continued(past, new, at)


def continued(past: Trajectory, new: Trajectory, at: int) -> Trajectory:
    """A path that is the past's before the time `at`, and another from there on."""

    def joined(name: str) -> Tensor | None:
        before = getattr(past, name)
        return None if before is None else torch.cat((before[:at], getattr(new, name)))

    states = torch.cat((past.states[:at], new.states))
    more = [joined(name) for name in ("denoised", "tokens", "confidence")]
    return Trajectory(past.times, states, *more)


@torch.no_grad()
def last_tokens(model: LanguageModel, path: Trajectory) -> Int[Tensor, "b n"]:
    """The tokens at the end of a path of `disturbed`, described or not.

    Args:
        model: The model.
        path: The path.

    Returns:
        Tokens (b, n).
    """
    if path.tokens is not None:
        return path.tokens[-1]
    return model.decode_tokens(path.states[-1])[0]


def agreement(tokens: Int[Tensor, "b n"], plan: Int[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """The fraction of positions at which two texts have the same token, padding of both left out.

    Args:
        tokens: (b, n).
        plan: (b, n).

    Returns:
        Fractions (b,).
    """
    there = (tokens != PAD) | (plan != PAD)
    return ((tokens == plan) & there).sum(1) / there.sum(1).clamp(min=1)


def outcome(
    model: LanguageModel, paths: Disturbance, tokenizer: Tokenizer
) -> dict[str, dict[str, float]]:
    """What became of disturbed texts: agreement with the plan, validity, and what is left.

    Args:
        model: The model.
        paths: Of `disturbed`.
        tokenizer: The tokenizer.

    Returns:
        {path: {measure: mean over texts}}; "left" is the root mean square of the displacement at
        the end over that at the disturbance, of latents only.
    """
    planned = last_tokens(model, paths.plan)
    found = {}
    for name in ("plan", "closed", "replayed"):
        path = getattr(paths, name)
        tokens = last_tokens(model, path)
        valid = validity([tokenizer.decode(row) for row in tokens.tolist()])
        found[name] = {
            "agreement": float(agreement(tokens, planned).mean()),
            "grammatical": valid["grammatical"],
            "consistent": valid["consistent"],
        }
        if name != "plan" and model.capabilities.latent:
            size = (path.states - paths.plan.states).flatten(2).square().mean(2).sqrt()
            found[name]["left"] = float((size[-1] / size[paths.at].clamp(min=1e-9)).mean())
    return found
