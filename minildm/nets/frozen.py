"""Frozen encoders: the hidden states of a pretrained language model, which LDLM reshapes and never
trains.
"""

import hashlib
from collections.abc import Callable

import torch
import torch.nn as nn
from jaxtyping import Float, Int
from torch import Tensor

from ..tokens import PAD


class FrozenEncoder(nn.Module):
    """States h of a chosen layer of a frozen network, whitened; padding has no state, h = 0.

    h = (H - mean) C^(-1/2) at words, 0 at padding; mean and covariance C are measured once by
    `calibrate`. A few directions hold nearly all the variance of a small language model's states,
    and what tells one word from another is in the rest; scaling channel by channel, the habit of
    the papers' authors, leaves it there.
    """

    def __init__(
        self, network: nn.Module, states: Callable[[nn.Module, Tensor], Tensor], width: int
    ):
        super().__init__()
        self.network, self.states, self.width = network.requires_grad_(False).eval(), states, width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("whiten", torch.eye(width))

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Frozen networks are never in training mode."""
        return super().train(False)

    @torch.no_grad()
    def calibrate(self, tokens: Int[Tensor, "batch n"]) -> None:
        """Measure mean and covariance over the words of a sample of texts; directions without
        variance stay small.
        """
        states = (
            self.states(self.network, tokens)[tokens != PAD].cpu().double()
        )  # not every device has float64
        variance, axes = torch.linalg.eigh(states.T.cov())
        self.mean.copy_(states.mean(0))
        self.whiten.copy_(axes / variance.clamp(min=1e-6 * variance[-1]).sqrt() @ axes.T)

    @torch.no_grad()
    def forward(self, tokens: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n width"]:
        with torch.autocast(
            tokens.device.type, enabled=False
        ):  # small directions would drown in bfloat16's rounding
            h = (self.states(self.network, tokens).float() - self.mean) @ self.whiten
        return h.masked_fill((tokens == PAD)[..., None], 0.0)

    def fingerprint(self) -> str:
        """A short checksum of the network's weights, kept in cards so that a changed encoder is
        noticed.
        """
        digest = hashlib.sha256()
        state = self.network.state_dict()
        # GPTs keep the name that this weight had in the first version, so that its cards stay valid
        weights = {name.replace("conv.kernel", "mix.taps"): value for name, value in state.items()}
        for name, value in sorted(weights.items()):
            digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:16]
