"""Writing at a pace of its own: the times of positions are part of the state, and who arrives is
part of the control.

    x = (z, tau);  u = (z_hat - z, 1) where a position arrives, else 0;  x_{k+1} = x_k + u_k

A position waits as noise until the words before it say enough about it, then ends at one step.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.feedback import rollout, transport
from ..dynamics.records import Trajectory
from .policy import COLD, Policy
from .steering import Wish, tilt

ROUNDING = 1e-3  # of words, below which none is due
PLAUSIBLE = 0.01  # share of the likeliest word's probability below which no wish brings a word
PACED = "paced"  # the name of this way of writing among solvers


def safe_run(
    entropy: Float[Tensor, "b n"], waiting: Bool[Tensor, "b n"], bound: float
) -> Int[Tensor, "b one"]:
    """How many of the first waiting words may be drawn at one look, each without the others.

    KL(p(w_1..w_k) | p(w_1) .. p(w_k)) <= sum_i H_i - max_i H_i <= bound

    Args:
        entropy: H of each word's law, (b, n), nats.
        waiting: (b, n).
        bound: >= 0, nats.

    Returns:
        k >= 1, (b, 1), or 0 where nobody waits.

    Derived in chapter 13. Source: EB-Sampler 2505.24857.
    """
    h = entropy.masked_fill(~waiting, 0.0)
    safe = waiting & (h.cumsum(1) - h.cummax(1).values <= bound)
    return safe.sum(1, keepdim=True)


class PacedPolicy(Policy):
    """A Manta as a feedback law (x, k) -> u with at most `steps` looks k, at which a safe run of
    words arrives.

    Of m words no more may wait than the looks that are left can write at the least pace, half of
    the longest run that was trained, or m / S if that is more. So a text hurries late, if at all;
    no run is longer than was trained, or than that pace. A `wish` tilts the laws that words are
    drawn from, p(w) P(wish | w)^strength, among words that are plausible without it, as in
    contrastive decoding 2210.15097.
    """

    def __init__(
        self,
        model,
        bound: float,
        steps: int,
        wish: Wish | None,
        strength: float,
        temperature: float,
        seed: int,
        record: bool = True,
    ):
        super().__init__(model, wish, strength, temperature, seed, record)
        self.bound, self.steps = bound, steps

    def write(self, z: Float[Tensor, "b n d"], moving: Bool[Tensor, "b n"]) -> Trajectory:
        """The path of texts z, whose `moving` positions are to be written."""
        self.words = moving.sum(1, keepdim=True)
        self.pace = (self.words / self.steps).clamp(min=self.model.config.ahead / 2)
        if self.wish is None:
            self.ahead = max(self.model.config.ahead, math.ceil(float(self.pace.max())))
        looks = torch.arange(self.steps + 1.0, device=z.device)
        path = rollout(
            transport,
            self,
            torch.cat((z, 1.0 - moving[..., None].float()), -1),
            looks,
            "euler",
            record=self.record,
        ).path
        return Trajectory(path.times, path.states[..., :-1])

    def __call__(
        self, x: Float[Tensor, "b n d_plus_one"], k: Float[Tensor, ""]
    ) -> Float[Tensor, "b n d_plus_one"]:
        z, t = x[..., :-1], x[..., -1]
        waiting = t < 1
        if not waiting.any():
            self.note(z)
            return torch.zeros_like(x)
        clean, logits = self.aim(z, t, torch.zeros_like(z))
        if self.wish is not None:
            clean = self.model.end(self.wished(logits), z, t, self.draw(t))
        self.note(clean)
        self.calls, self.now = self.calls + 1, float(t.sum())
        law = logits.log_softmax(-1)
        run = safe_run(-(law.exp() * law).sum(-1), waiting, self.bound).clamp(
            max=self.model.config.ahead
        )
        due = waiting.sum(1, keepdim=True) - self.pace * (self.steps - 1 - k)
        arrives = waiting & (waiting.cumsum(1) <= run.maximum((due - ROUNDING).ceil()))
        return torch.cat((clean - z, torch.ones_like(t)[..., None]), -1) * arrives[..., None]

    def wished(self, logits: Float[Tensor, "b n words"]) -> Float[Tensor, "b n words"]:
        """Logits of the tempered law of words, tilted to the wish among plausible words."""
        log_p = (logits / max(self.temperature, COLD)).log_softmax(-1)
        plausible = logits >= logits.amax(-1, keepdim=True) + math.log(PLAUSIBLE)
        return (log_p + self.strength * tilt(self.wish, log_p)).masked_fill(~plausible, -torch.inf)
