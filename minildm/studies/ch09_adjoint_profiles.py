"""Adjoint profiles: how much of a cost of the finished text reaches each earlier time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import grad

from ..control.adjoint import pull_back
from ..dynamics.records import Trajectory
from ..sampling.relaxed import RelaxedProcess, hard, relaxed, soft, straight_through
from ..text.tales import split
from .common import SMALL_MODELS, band, generator, small_model
from .record import Record

TerminalCost = Callable[[Tensor], Tensor]  # token scores (batch, n, vocab_size) -> Phi (batch,)
CHOICES = {"hard": hard, "soft": soft(1.0), "straight_through": straight_through(1.0)}


def terminal_cost(tokens: Int[Tensor, " p"], at: Int[Tensor, " p"]) -> TerminalCost:
    """The cost of a text that should have certain tokens at certain positions.

    Phi = - sum over p of the score of tokens_p at position at_p

    Args:
        tokens: The tokens that should stand there.
        at: Their positions.

    Returns:
        Token scores (batch, n, vocab_size) -> Phi (batch,).

    Derived in chapter 09.
    """

    def phi(scores: Tensor) -> Tensor:
        return -scores[:, at, tokens].sum(-1)

    return phi


@dataclass
class AdjointProfile:
    """How much of a terminal cost reaches each time, in all and through later decisions.

    p_k = dPhi/dz_k;  total = |p_k| / |p_S|;  through = |p_k - K_k p_S| / |p_S|

    K_k is 1 where a token is written already: it is carried along unchanged, so what the cost says
    of it comes back by copying alone.
    """

    times: Float[Tensor, " time"]
    total: Float[Tensor, "time batch"]
    through: Float[Tensor, "time batch"]
    costates: Float[Tensor, "time batch n channels"]


def profile(process: RelaxedProcess, path: Trajectory, phi: TerminalCost) -> AdjointProfile:
    """The adjoint profile of a sampler, by the costates along its recorded path.

    The Jacobian of a hard choice is diagonal, 1 where a token is carried along and 0 elsewhere, so
    `through` is exactly 0. It is positive for soft choices, and for latents, which are never final.

    Args:
        process: The sampler.
        path: The path that it took.
        phi: The terminal cost.

    Returns:
        The profile.

    Derived in chapter 09.
    """

    def total_cost(z: Tensor) -> Tensor:
        return phi(process.scores(z)).sum()

    last = grad(total_cost)(path.states[-1])
    costates = pull_back(process.field, path, last, process.step)[..., : process.moving]
    copies = torch.stack([process.kept(k) * costates[-1] for k in range(len(path.times))])
    size = costates[-1].flatten(1).norm(dim=-1)
    return AdjointProfile(
        path.times,
        costates.flatten(2).norm(dim=-1) / size,
        (costates - copies).flatten(2).norm(dim=-1) / size,
        costates,
    )


def another_tale(tokenizer) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """The tokens of a test tale, and their positions behind <bos>."""
    tokens = torch.tensor(tokenizer.encode(split("test", 1)[0]))
    return tokens, torch.arange(1, len(tokens) + 1)


def run(
    out: Path = Path("runs/ch09_adjoint_profiles.json"), texts: int = 16, steps: int = 32
) -> None:
    """How much of a cost of the finished text reaches each earlier time, in three models.

    Args:
        out: File of the record.
        texts: Texts of each sampler, of a GPT half as many.
        steps: Steps of each sampler.
    """
    record = Record(out, texts=texts, steps=steps)
    for model_type in SMALL_MODELS:
        loaded = small_model(model_type)
        phi = terminal_cost(*another_tale(loaded.tokenizer))
        count = texts // 2 if loaded.model.causal else texts
        latent = loaded.model.capabilities.latent
        for name, choice in [("latents", hard)] if latent else CHOICES.items():
            case = {"model": model_type, "choice": name}
            if case in record:
                continue
            process = relaxed(loaded.model, count, steps, generator(), choice)
            found = profile(process, process.run(), phi)
            figures = {
                "largest_through": found.through[:-1].max().item(),
                "least_through": found.through[:-1].min().item(),
                "times": found.times.tolist(),
                "total": band(found.total),
                "through": band(found.through),
            }
            record.add(case | figures)
