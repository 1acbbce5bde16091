"""The optimizer of every model: Muon for the matrices inside blocks, AdamW for everything else."""

# torch's functions of lists of tensors have no public names
# pyright: reportPrivateImportUsage=false

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import UserError
from .config import TrainConfig

MOMENTUM = 0.95  # mu of Muon
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients a, b, c of Muon's published iteration


def orthogonal_factor(
    x: Float[Tensor, "k rows columns"], dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "k rows columns"]:
    """The factor U V^T of matrices X = U S V^T, up to singular values between 0.7 and 1.2.

    X <- X / |X|;  A = X X^T;  X <- a X + (b A + c A^2) X, five times (Newton-Schulz)

    Args:
        x: (k, rows, columns), k matrices X.
        dtype: Type of the numbers of the iteration.

    Returns:
        (k, rows, columns) in that type.

    Derived in chapter 16. Source: Muon.
    """
    a, b, c = QUINTIC
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose directions all get one length: torch's Muon, for stacked matrices.

    M <- mu M + (1 - mu) G
    W <- (1 - lr decay) W - 0.2 lr sqrt(max(rows, columns)) U V^T,  U S V^T = (1 - mu) G + mu M

    The factor 0.2 gives each update the size of AdamW's, so that one learning rate serves both.
    `dtype` is that of the iteration: bfloat16 is fast, and in float32 processes that share a batch
    agree up to rounding. Stacked matrices make a step cost few calls however deep the model is.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        dtype: torch.dtype = torch.bfloat16,
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # no closure
        for group in self.param_groups:
            alike = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    alike[p.shape].append(p)
            for weights in alike.values():
                self.turn(weights, group)

    def turn(self, weights: list[Tensor], group: dict) -> None:
        """One step of matrices of one shape, with the settings of their group."""
        for p in weights:
            if p not in self.state:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        grads = [p.grad for p in weights if p.grad is not None]  # all have one
        means = [self.state[p]["momentum_buffer"] for p in weights]
        torch._foreach_lerp_(means, grads, 1 - MOMENTUM)
        direction = torch.stack(grads).lerp_(torch.stack(means), MOMENTUM)
        turned = orthogonal_factor(direction, dtype=self.dtype).to(weights[0].dtype)
        torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
        scale = 0.2 * group["lr"] * max(weights[0].shape) ** 0.5
        torch._foreach_add_(weights, list(turned.unbind()), alpha=-scale)


STATE = {  # what an optimizer keeps for a weight
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    Muon: {"momentum_buffer"},
}


class CombinedOptimizer:
    """Optimizers that share out the weights of a model, with the interface of one."""

    def __init__(self, *parts: torch.optim.Optimizer):
        self.parts = parts

    @property
    def param_groups(self) -> list[dict]:
        """The groups of weights of all parts."""
        return list(chain.from_iterable(part.param_groups for part in self.parts))

    def step(self) -> None:
        """Change the weights by their gradients."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The state of all parts as named tensors, part.weight.name."""
        return {
            f"{i}.{weight}.{name}": value
            for i, part in enumerate(self.parts)
            for weight, state in part.state_dict()["state"].items()
            for name, value in state.items()
        }

    def load(self, tensors: dict[str, Tensor], source: str) -> None:
        """Put named tensors back.

        Raises:
            UserError: Which names their `source`, unless they are those of these weights.
        """
        shapes = {
            f"{i}.{weight}.{name}": () if name == "step" else tuple(p.shape)
            for i, part in enumerate(self.parts)
            for weight, p in enumerate(p for group in part.param_groups for p in group["params"])
            for name in STATE[type(part)]
        }
        states: list[dict[int, dict[str, Tensor]]] = [defaultdict(dict) for _ in self.parts]
        for key, value in tensors.items():
            if tuple(value.shape) != shapes.get(key) or not value.is_floating_point():
                raise UserError(
                    f"{source} does not fit the model ({key}): use an earlier checkpoint"
                )
            i, weight, name = key.split(".")
            states[int(i)][int(weight)][name] = value
        for part, state in zip(self.parts, states):
            if any(found.keys() != STATE[type(part)] for found in state.values()):
                raise UserError(f"{source} lacks a part of its numbers: use an earlier checkpoint")
            groups = part.state_dict()["param_groups"]
            part.load_state_dict({"state": dict(state), "param_groups": groups})


def make_optimizer(model: nn.Module, c: TrainConfig) -> CombinedOptimizer:
    """Muon on matrices inside blocks, AdamW on everything else; only matrices decay.

    Args:
        model: Whose trained weights are shared out.
        c: The kind of optimizer, its learning rate, decays and precision.

    Returns:
        The optimizer.

    Derived in chapter 16. Source: Muon; torch.optim.Muon.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = {
        name: p
        for name, p in trained.items()
        if p.dim() == 2 and "blocks." in name and c.optimizer == "muon"
    }
    rest = [p for name, p in trained.items() if name not in matrices]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": c.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=c.lr, betas=(0.9, c.beta2), fused=True)
    if not matrices:
        return CombinedOptimizer(adamw)
    dtype = torch.bfloat16 if c.bf16 else torch.float32
    return CombinedOptimizer(adamw, Muon(matrices.values(), c.lr, c.weight_decay, dtype=dtype))
