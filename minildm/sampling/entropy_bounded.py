"""Entropy-bounded decoding: the noise levels are part of the state, arrivals part of the control.

    x = (z, tau);  u = (z_hat - z, 1) where a position arrives, else 0;  x_{k+1} = x_k + u_k

A position waits as noise until the tokens before it say enough about it, then ends in one step. It
decodes from left to right and is an autoregressive limit.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..models.generation import GuidanceTarget
from ..models.guidance import reweight
from ..models.manta import EPS, MantaLM
from .policy import MantaPolicy
from .process import Request

ROUNDING = 1e-3  # of tokens, below which none is due
PLAUSIBLE = 0.01  # of the likeliest token's probability, below which guidance brings no token


def safe_run(
    entropy: Float[Tensor, "b n"], waiting: Bool[Tensor, "b n"], bound: float
) -> Int[Tensor, "b one"]:
    """How many of the first waiting tokens may be drawn at once, each without the others.

    KL(p(w_1..w_k) | p(w_1) .. p(w_k)) <= sum_i H_i - max_i H_i <= bound

    Args:
        entropy: H of each token's distribution, (b, n), nats.
        waiting: (b, n).
        bound: >= 0, nats.

    Returns:
        k >= 1, (b, 1), or 0 where no token waits.

    Derived in chapter 13. Source: EB-Sampler 2505.24857.
    """
    h = entropy.masked_fill(~waiting, 0.0)
    safe = waiting & (h.cumsum(1) - h.cummax(1).values <= bound)
    return safe.sum(1, keepdim=True)


class EntropyBoundedPolicy(MantaPolicy):
    """The policy (x, k) -> u that lets a safe run of tokens arrive at each of S evaluations k.

    Of m tokens no more may wait than the evaluations that are left can write at the least rate,
    half of the longest run that was trained, or m / S if that is more. So a text is hurried late,
    if at all, and no run is longer than was trained, or than that rate. A guidance target reweights
    the distributions that tokens are drawn from, p(w) P(target | w)^scale, among tokens that are
    plausible without it, as in contrastive decoding 2210.15097.
    """

    def __init__(self, model: MantaLM, request: Request, seed: int | None):
        config = request.config
        super().__init__(
            model,
            config.temperature,
            seed,
            config.guidance_target,
            config.guidance_scale,
            request.record,
        )
        self.bound = config.entropy_bound
        self.steps = config.steps
        self.block_size = model.config.block_size
        missing = (~request.observed).sum(1, keepdim=True)
        self.rate = (missing / self.steps).clamp(min=self.block_size / 2)
        if self.target is None:
            self.reach = max(self.block_size, math.ceil(float(self.rate.max())))

    def __call__(
        self, x: Float[Tensor, "b n d_plus_one"], k: Float[Tensor, ""]
    ) -> Float[Tensor, "b n d_plus_one"]:
        z = x[..., :-1]
        t = x[..., -1]
        waiting = t < 1
        if not waiting.any():
            self.keep_prediction(z)
            return torch.zeros_like(x)
        denoised, logits = self.predict(z, t, torch.zeros_like(z))
        assert logits is not None  # a head over tokens is what this solver needs
        if self.target is not None:
            wanted = self.reweighted(self.target, logits)
            denoised = self.model.endpoint(wanted, z, t, self.draw(t))
        self.note(denoised, float(t.sum()))
        log_p = logits.log_softmax(-1)
        run = safe_run(-(log_p.exp() * log_p).sum(-1), waiting, self.bound)
        due = waiting.sum(1, keepdim=True) - self.rate * (self.steps - 1 - k)
        most = run.clamp(max=self.block_size).maximum((due - ROUNDING).ceil())
        arrives = waiting & (waiting.cumsum(1) <= most)
        control = torch.cat((denoised - z, torch.ones_like(t)[..., None]), -1)
        return control * arrives[..., None]

    def reweighted(
        self, target: GuidanceTarget, logits: Float[Tensor, "b n vocab_size"]
    ) -> Float[Tensor, "b n vocab_size"]:
        """Logits of the tempered distribution, reweighted by the target among plausible tokens."""
        log_p = (logits / max(self.temperature, EPS)).log_softmax(-1)
        plausible = logits >= logits.amax(-1, keepdim=True) + math.log(PLAUSIBLE)
        weighted = log_p + self.scale * reweight(target, log_p)
        return weighted.masked_fill(~plausible, -torch.inf)
