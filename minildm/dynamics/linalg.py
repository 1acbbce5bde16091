"""Functions of torch with the types that it omits: on matrices, and of the normal distribution."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable

import torch
from torch import Tensor

solve: Callable[[Tensor, Tensor], Tensor] = torch.linalg.solve
eig: Callable[[Tensor], tuple[Tensor, Tensor]] = torch.linalg.eig
eigvals: Callable[[Tensor], Tensor] = torch.linalg.eigvals
eigh: Callable[[Tensor], tuple[Tensor, Tensor]] = torch.linalg.eigh
eigvalsh: Callable[[Tensor], Tensor] = torch.linalg.eigvalsh
norm: Callable[..., Tensor] = torch.linalg.vector_norm
block_diag: Callable[..., Tensor] = torch.block_diag
ndtr: Callable[[Tensor], Tensor] = torch.special.ndtr
ndtri: Callable[[Tensor], Tensor] = torch.special.ndtri


def solve_unchecked(matrix: Tensor, right: Tensor) -> Tensor:
    """The solution of a linear system, infinite or not a number where the matrix is singular.

    Args:
        matrix: Square matrices (..., n, n).
        right: Right-hand sides (..., n) or (..., n, k).

    Returns:
        The solutions, of the shape of `right`.
    """
    return torch.linalg.solve_ex(matrix, right).result
