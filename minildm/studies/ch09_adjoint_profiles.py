"""Adjoint profiles of language models: how much of a wish about the finished text is felt at each
earlier time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import grad

from ..control.adjoint import pull_back
from ..dynamics.records import Trajectory
from ..evaluation.chains import Chain

Wish = Callable[[Tensor], Tensor]  # scores of words (batch, n, vocabulary) -> Phi (batch,)


def wish(words: Int[Tensor, " p"], at: Int[Tensor, " p"]) -> Wish:
    """The terminal cost of wanting certain words at certain positions.

    Phi = - sum over p of score of words_p at position at_p

    Args:
        words: (p,), ids.
        at: (p,), positions.

    Returns:
        Scores (batch, n, vocabulary) -> Phi (batch,).

    Derived in chapter 09.
    """
    return lambda scores: -scores[:, at, words].sum(-1)


@dataclass
class AdjointProfile:
    """How much of a wish is felt: all of it, and what reaches the state through decisions still to
    come.

    p_k = dPhi/dz_k;  total = |p_k| / |p_S|;  through = |p_k - kept_k p_S| / |p_S|, as words already
    written are carried along unchanged, and what the wish says of them comes back by copying alone
    """

    times: Float[Tensor, " time"]
    total: Float[Tensor, "time batch"]
    through: Float[Tensor, "time batch"]
    costates: Float[Tensor, "time batch n channels"]


def profile(chain: Chain, path: Trajectory, phi: Wish) -> AdjointProfile:
    """The adjoint profile of a sampler, by the costates of `control.adjoint` along its recorded path.

    The Jacobian of a hard step is diagonal: 1 where a word is carried along, 0 elsewhere. So `through` is exactly 0 at all
    times; soft choices and latents, which are never final, have it positive.
    Args: `chain`; `path` that it ran; `phi`. Returns an `AdjointProfile`. Derived in chapter 09.
    Source: ours, after Manta-LM.
    """
    wanted = grad(lambda z: phi(chain.scores(z)).sum())(path.states[-1])
    costates = pull_back(chain.field, path, wanted, chain.step)[..., : chain.moving]
    copies = torch.stack([chain.kept(k) * costates[-1] for k in range(len(path.times))])
    size = costates[-1].flatten(1).norm(dim=-1)
    return AdjointProfile(
        path.times,
        costates.flatten(2).norm(dim=-1) / size,
        (costates - copies).flatten(2).norm(dim=-1) / size,
        costates,
    )
