"""How many network evaluations REINFORCE needs in a trained model where a gradient needs one."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import integrate
from ..sampling.relaxed import RelaxedProcess, relaxed
from .ch09_adjoint_profiles import CHOICES, TerminalCost, another_tale
from .ch09_gradient_absence import (
    Cost,
    Estimates,
    pathwise,
    reinforce,
    reinforce_words,
    relaxed_words,
    variance_ratio,
)
from .common import generator, small_model
from .record import Record


def perturbed_cost(process: RelaxedProcess, path: Trajectory, k: int, phi: TerminalCost) -> Cost:
    """The cost of the end as a function of the first text's latents at a time.

    z_k (draws, n, moving) -> Phi(scores of z_S)

    Args:
        process: A sampler of latents.
        path: The path that it took.
        k: Index of the time.
        phi: The terminal cost.

    Returns:
        A cost for `reinforce` and `pathwise`, whose mean is path.states[k][0, :, :moving].

    Derived in chapter 09.
    """
    memory = path.states[k][:1, :, process.moving :]

    def cost(z: Tensor) -> Tensor:
        state = torch.cat((z, memory.expand(len(z), -1, -1)), dim=-1)
        rest = integrate(process.field, state, process.times[k:], process.step, record=False)
        return phi(process.scores(rest.states[-1]))

    return cost


def compare(scored: Estimates, direct: Estimates) -> dict[str, Any]:
    """Figures of REINFORCE against another estimate of the same gradient."""
    draws, parameters = scored.draws.shape
    cosine = torch.cosine_similarity(scored.mean, direct.mean, dim=0).item()
    ratio = vars(variance_ratio(scored, direct, generator(2)))
    return {"draws": draws, "parameters": parameters, **ratio, "cosine_of_means": cosine}


def of_latents(record: Record, draws: int) -> None:
    """Compare estimates for the cross-entropy of an LDLM's finished text to another tale."""
    loaded = small_model("ldlm")
    tokens, at = another_tale(loaded.tokenizer)

    def phi(scores: Tensor) -> Tensor:
        return -scores.log_softmax(-1)[:, at, tokens].mean(-1)

    process = relaxed(loaded.model, 1, 8, generator())
    path = process.run()
    for k in (0, 2, 4, 6):
        cost = perturbed_cost(process, path, k, phi)
        mean = path.states[k][0, :, : process.moving]
        for std in (0.1, 0.3):
            case = {"model": "ldlm", "t": path.times[k].item(), "std": std}
            if case not in record:
                scored = reinforce(cost, mean, std, draws, generator(1))
                direct = pathwise(cost, mean, std, draws, generator(1))
                record.add(case | compare(scored, direct))


def of_tokens(record: Record, draws: int) -> None:
    """Compare estimates for another tale's tokens in a masked model's first step."""
    loaded = small_model("masked")
    tokens, at = another_tale(loaded.tokenizer)

    def cost(z: Tensor) -> Tensor:
        return -z[:, at, tokens].sum(-1)

    process = relaxed(loaded.model, 1, 1, generator())
    logits = process.field(process.start, torch.tensor(0.0))[0].clamp(min=-30)
    scored = reinforce_words(cost, logits, 16 * draws, generator(1))
    for name, choice in CHOICES.items():
        case = {"model": "masked", "choice": name}
        if case in record:
            continue
        estimates = relaxed_words(cost, logits, 4 * draws, generator(1), choice)
        if name == "hard":
            record.add(case | {"largest_gradient": estimates.draws.abs().max().item()})
        else:
            record.add(case | compare(scored, estimates))


def run(out: Path = Path("runs/ch09_gradient_variance.json"), draws: int = 256) -> None:
    """How many network evaluations REINFORCE needs where a gradient needs one.

    Args:
        out: File of the record.
        draws: Draws of each estimate for latents; for tokens 16 and 4 times as many.
    """
    record = Record(out, draws=draws)
    of_latents(record, draws)
    of_tokens(record, draws)
