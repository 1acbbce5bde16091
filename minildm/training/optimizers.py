"""The optimizer of every model: Muon for the matrices inside blocks, AdamW for everything else, stepped as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .muon import Muon

if TYPE_CHECKING:
    from .loop import TrainConfig


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
        return {f"{i}.{weight}.{name}": value for i, part in enumerate(self.parts)
                for weight, state in part.state_dict()["state"].items() for name, value in state.items()}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put named tensors back."""
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.parts]
        for key, value in tensors.items():
            i, weight, name = key.split(".")
            states[int(i)].setdefault(int(weight), {})[name] = value
        for part, state in zip(self.parts, states):
            part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})


def make_optimizer(model: nn.Module, c: TrainConfig) -> Together:
    """Muon on matrices inside blocks, AdamW on embeddings, heads, gains, biases and queries; only matrices decay.

    Args: `model`; `c`. Returns the optimizer of its trained weights. Derived in chapter 16. Source: Muon [torch.optim.Muon].
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    matrices = {name: p for name, p in trained.items() if p.dim() == 2 and "blocks." in name and c.optimizer == "muon"}
    rest = [p for name, p in trained.items() if name not in matrices]
    groups = [{"params": [p for p in rest if p.dim() >= 2], "weight_decay": c.weight_decay},
              {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=c.lr, betas=(0.9, c.beta2), fused=True)
    if not matrices:
        return Together(adamw)
    return Together(adamw, Muon(matrices.values(), c.lr, c.weight_decay, dtype=torch.bfloat16 if c.bf16 else torch.float32))
