"""Jacobians of fields that are only known by calling them: their top eigenvalue, by products alone."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from .records import Field


def top_eigenvalue(
    field: Field, z: Float[Tensor, "batch ..."], t: Tensor, rng: torch.Generator, rounds: int = 30
) -> Float[Tensor, " batch"]:
    """The fastest rate at which neighbors of each state part, by power iteration that keeps all its
    vectors (Lanczos).

    The top eigenvalue of S = (J + J')/2, J = du/dz; of J where J is symmetric, as it is for the
    field of any law. From a random x, S is applied again and again; the answer is max x'Sx over
    unit vectors spanned by x, Sx, SSx, .... It rises to the top with the rounds, and is exact when
    there are as many as numbers in a state.

    Args:
        field: Whose rows do not look at each other.
        z: (batch, ...) and `t` as it takes them.
        rng: Generator of the random numbers.
        rounds: Each of a forward and a backward product.

    Returns:
        (batch,).

    Derived in chapter 08. Source: Lanczos.
    """

    def at(z: Tensor) -> Tensor:
        return field(z, t)

    def random() -> Tensor:
        return torch.randn(z.shape, generator=rng, dtype=z.dtype, device=z.device).flatten(1)

    basis, images, x = z.new_zeros(len(z), 0, z[0].numel()), [], random()
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():  # fused attention has no forward derivative
        _, pull = vjp(at, z)
        for _ in range(min(rounds, z[0].numel())):
            for _ in range(2):  # the second time removes what rounding left
                x = F.normalize(
                    x - torch.einsum("bkn,bk->bn", basis, torch.einsum("bkn,bn->bk", basis, x)),
                    dim=1,
                )
            basis, tangent = torch.cat((basis, x[:, None]), dim=1), x.reshape(z.shape)
            images.append((jvp(at, (z,), (tangent,))[1] + pull(tangent)[0]).flatten(1) / 2)
            x = (
                images[-1] + torch.finfo(z.dtype).eps * random()
            )  # a new direction where there is none left
        return torch.linalg.eigvalsh(basis @ torch.stack(images, dim=2))[:, -1]
