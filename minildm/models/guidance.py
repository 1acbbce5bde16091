"""Guidance: terminal costs of a text, whose gradient moves the predicted end of its latents.

By Bayes' rule p(z_1 | z_t, target) ~ p(z_1 | z_t) P(target | z_1); on the path z_t = a z_1 + b z_0
with Gaussian z_0 this moves the mean of z_1 by b^2/a grad log P(target | z_t). A model knows P only
approximately, because it lets tokens be independent given z_t. Where tokens are drawn, Bayes' rule
reweights their probabilities instead.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..transport.schedules import Schedule, expand
from .generation import GuidanceTarget

Prediction = Callable[[Tensor], tuple[Tensor, Tensor]]  # z_t -> (z_hat, logits of the tokens)
LEAST_SIGNAL = 0.05  # least a that the shift divides by
LEAST = 1e-30  # probability that a logarithm is taken of


def contains(token: int) -> GuidanceTarget:
    """The target that a token stands anywhere in the text.

    Phi = -log(1 - prod_i (1 - p_i(token)))

    Args:
        token: Its id.

    Returns:
        A `GuidanceTarget`.
    """

    def cost(log_p: Float[Tensor, "b n vocab_size"]) -> Float[Tensor, " b"]:
        absent = torch.log1p(-log_p[..., token].exp().clamp(max=1 - 1e-6)).sum(1)
        return -torch.log(-torch.expm1(absent.clamp(max=-1e-6)))

    return cost


def posterior_mean_guidance(
    predict: Prediction,
    target: GuidanceTarget,
    scale: float,
    schedule: Schedule,
    z: Float[Tensor, "b m d"],
    t: Float[Tensor, "..."],
) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b n vocab_size"]]:
    """The predicted end of latents, moved towards a target by the gradient of its cost.

    z_hat - scale b^2/a grad_z Phi

    Args:
        predict: The model's prediction at z_t.
        target: Phi.
        scale: 1 for Bayes' rule.
        schedule: Coefficients a and b of the path.
        z: (b, m, d).
        t: (b,) or (b, m).

    Returns:
        The guided z_hat and the logits.

    Derived in chapter 13. Source: diffusion posterior sampling 2209.14687.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        denoised, logits = predict(z)
        gradient = torch.autograd.grad(target(logits.log_softmax(-1)).sum(), z)[0]
    a = expand(schedule.a(t), z)
    b = expand(schedule.b(t), z)
    guided = denoised.detach() - scale * b**2 / a.clamp(min=LEAST_SIGNAL) * gradient
    return guided, logits.detach()


def reweight(
    target: GuidanceTarget, log_p: Float[Tensor, "b n vocab_size"]
) -> Float[Tensor, "b n vocab_size"]:
    """What one token would do for a target, where tokens are independent.

    log P(target | w_i = w) - log P(target); P is affine in the probabilities p_i of each token, so
    P(target | w_i = w) = P + dP/dp_i(w) - sum_v p_i(v) dP/dp_i(v)

    Args:
        target: Phi = -log P, affine in this sense.
        log_p: (b, n, vocab_size).

    Returns:
        Nats (b, n, vocab_size).

    Derived in chapter 13. Source: twisted distributions as in 2404.17546.
    """
    with torch.enable_grad():
        p = log_p.exp().detach().requires_grad_()
        chance = torch.exp(-target(p.clamp(min=LEAST).log()))
        slope = torch.autograd.grad(chance.sum(), p)[0]
    chance = chance.detach()[:, None, None]
    given = chance + slope - (p.detach() * slope).sum(-1, keepdim=True)
    return given.clamp(min=LEAST).log() - chance.clamp(min=LEAST).log()


def is_met(
    target: GuidanceTarget, tokens: Int[Tensor, "b n"], vocab_size: int
) -> Bool[Tensor, " b"]:
    """Whether texts meet a target: P(target | w) > 1/2, where each token is certain.

    Args:
        target: The terminal cost.
        tokens: w (b, n).
        vocab_size: The number of tokens.

    Returns:
        (b,).
    """
    certain = F.one_hot(tokens, vocab_size).float().clamp(min=LEAST).log()
    return target(certain) < math.log(2)
