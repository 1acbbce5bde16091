"""Frozen encoders: states of a pretrained language model, which LDLM reshapes and never trains."""

import hashlib
from collections.abc import Callable

import torch
import torch.nn as nn
from jaxtyping import Float, Int
from torch import Tensor

from ..tokens import PAD

# weights of a GPT, as they were called when the checksums in cards of the first version were made
RENAMED = {"conv.kernel": "mix.taps"}


class FrozenEncoder(nn.Module):
    """States h of a chosen layer of a frozen network, whitened; padding has no state, h = 0.

    h = (H - mean) C^(-1/2) at tokens, 0 at padding; mean and covariance C are measured once by
    `calibrate`. A few directions hold nearly all the variance of a small language model's states,
    and what tells one token from another is in the rest. Standardizing channel by channel, as the
    authors of the paper do, leaves it there.
    """

    mean: Tensor
    whiten: Tensor

    def __init__(
        self, network: nn.Module, states: Callable[[nn.Module, Tensor], Tensor], d_model: int
    ):
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.states = states
        self.d_model = d_model
        self.register_buffer("mean", torch.zeros(d_model))
        self.register_buffer("whiten", torch.eye(d_model))

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Frozen networks are never in training mode."""
        return super().train(False)

    @torch.no_grad()
    def calibrate(self, tokens: Int[Tensor, "batch n"]) -> None:
        """Measure mean and covariance of the states; directions without variance stay small."""
        states = self.states(self.network, tokens)[tokens != PAD]
        states = states.cpu().double()  # not every device has float64
        variance, axes = torch.linalg.eigh(states.T.cov())
        self.mean.copy_(states.mean(0))
        self.whiten.copy_(axes / variance.clamp(min=1e-6 * variance[-1]).sqrt() @ axes.T)

    @torch.no_grad()
    def forward(self, tokens: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n d_model"]:
        # in bfloat16 the rounding would be larger than the small directions
        with torch.autocast(tokens.device.type, enabled=False):
            h = (self.states(self.network, tokens).float() - self.mean) @ self.whiten
        return h.masked_fill((tokens == PAD)[..., None], 0.0)

    def fingerprint(self) -> str:
        """A short checksum of the network's weights, by which a changed encoder is noticed."""
        digest = hashlib.sha256()
        weights = {RENAMED.get(k, k): value for k, value in self.network.state_dict().items()}
        for name, value in sorted(weights.items()):
            digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
        return digest.hexdigest()[:16]
