"""Gradients and the top eigenvalue of a Jacobian, of functions that can only be called."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

from .linalg import eigvalsh
from .records import Field


def gradient(f: Callable[[Tensor], Tensor], z: Float[Tensor, "batch ..."]) -> Tensor:
    """The gradient of a function at each row of a batch, by autograd.

    Args:
        f: A function (batch, ...) -> (batch,) that acts on each row by itself.
        z: Points (batch, ...).

    Returns:
        Gradients (batch, ...).
    """

    def total(z: Tensor) -> Tensor:
        return f(z).sum()

    return grad(total)(z)


def top_eigenvalue(
    field: Field, z: Float[Tensor, "batch ..."], t: Tensor, rng: torch.Generator, rounds: int = 30
) -> Float[Tensor, " batch"]:
    """The fastest rate at which neighbors of each state part, by Lanczos iteration.

    The top eigenvalue of S = (J + J')/2 with J = du/dz: the logarithmic norm of J, and the top
    eigenvalue of J itself where J is symmetric, as it is for every field that is a gradient.
    From a random x, S is applied again and again; the answer is max x'Sx over unit vectors in the
    span of x, Sx, SSx, .... It rises to the top eigenvalue with the number of rounds, and is exact
    when there are as many rounds as numbers in a state.

    Args:
        field: The vector field; the rows of its batch must not depend on each other.
        z: States (batch, ...).
        t: Time, as the field takes it.
        rng: Generator of the random numbers.
        rounds: Number of rounds, each of one forward and one backward product.

    Returns:
        One rate (batch,) for each state, per unit of time.

    Derived in chapter 08. Source: Lanczos.
    """

    def at(z: Tensor) -> Tensor:
        return field(z, t)

    def random() -> Tensor:
        return torch.randn(z.shape, generator=rng, dtype=z.dtype, device=z.device).flatten(1)

    size = z[0].numel()
    basis = z.new_zeros(len(z), 0, size)
    images: list[Tensor] = []
    x = random()
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():  # fused attention has no forward derivative
        _, backward, *_ = vjp(at, z)
        for _ in range(min(rounds, size)):
            for _ in range(2):  # the second time removes what rounding left
                inside = torch.einsum("bkn,bk->bn", basis, torch.einsum("bkn,bn->bk", basis, x))
                x = F.normalize(x - inside, dim=1)
            basis = torch.cat((basis, x[:, None]), dim=1)
            tangent = x.reshape(z.shape)
            image: Tensor = jvp(at, (z,), (tangent,))[1] + backward(tangent)[0]
            images.append(image.flatten(1) / 2)
            # the rounding error gives a new direction where there is none left
            x = images[-1] + torch.finfo(z.dtype).eps * random()
        return eigvalsh(basis @ torch.stack(images, dim=2))[:, -1]
