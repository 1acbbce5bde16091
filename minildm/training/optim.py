"""The optimizer of every model: Muon for the matrices inside blocks, AdamW for everything else,
stepped as one.
"""

import torch
from torch import Tensor, nn

from ..errors import UserError
from .config import TrainConfig
from .muon import Muon

STATE = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    Muon: {"momentum_buffer"},
}  # kept for a weight


class Together:
    """Optimizers that share out the weights of a model, with the interface of one."""

    def __init__(self, *parts: torch.optim.Optimizer):
        self.parts = parts

    @property
    def param_groups(self) -> list[dict]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

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
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.parts]
        shapes = {
            f"{i}.{weight}.{name}": () if name == "step" else tuple(p.shape)
            for i, part in enumerate(self.parts)
            for weight, p in enumerate(p for group in part.param_groups for p in group["params"])
            for name in STATE[type(part)]
        }
        for key, value in tensors.items():
            if tuple(value.shape) != shapes.get(key) or not value.is_floating_point():
                raise UserError(
                    f"{source} does not fit the model ({key}): use an earlier checkpoint"
                )
            i, weight, name = key.split(".")
            states[int(i)].setdefault(int(weight), {})[name] = value
        for part, state in zip(self.parts, states):
            if any(found.keys() != STATE[type(part)] for found in state.values()):
                raise UserError(f"{source} lacks a part of its numbers: use an earlier checkpoint")
            part.load_state_dict(
                {"state": state, "param_groups": part.state_dict()["param_groups"]}
            )


def make_optimizer(model: nn.Module, c: TrainConfig) -> Together:
    """Muon on matrices inside blocks, AdamW on embeddings, heads, gains, biases and queries; only matrices decay.

    Args: `model`; `c`. Returns the optimizer of its trained weights. Derived in chapter 16. Source: Muon [torch.optim.Muon].
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
        return Together(adamw)
    return Together(
        adamw,
        Muon(
            matrices.values(),
            c.lr,
            c.weight_decay,
            dtype=torch.bfloat16 if c.bf16 else torch.float32,
        ),
    )
