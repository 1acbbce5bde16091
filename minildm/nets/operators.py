"""Global integral operators: every position of a text sees every other, as a weighted sum that
stands for an integral.

    (K z)(i) = sum_j w_j kappa(i, j, z) V z_j,   sum_j w_j = 1

The weights w_j are those of a quadrature: how much of the text position j stands for. They are
equal unless given, padding has weight 0, and a finer grid of the same text has smaller weights, so
that the sum approaches an integral. Time enters by the states. A reconstruction: Manta-LM names a
Global Integral Operator, and nothing more of it is public.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Real
from torch import Tensor

from ..errors import UserError
from .cache import Cache
from .layers import RMSNorm, attend, rotary_angles, rotate

Weights = Float[Tensor, "b n"] | Float[Tensor, "b n m"]


def quadrature_weights(keep: Real[Tensor, "b n"] | Bool[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Weights that sum to one over the positions of each text: w_j = m_j / sum_l m_l.

    Args:
        keep: m (b, n), 1 or true at words and 0 or false at padding, or any measure >= 0.

    Returns:
        w (b, n).
    """
    return keep.float() / keep.float().sum(1, keepdim=True)


class GlobalIntegralOperator(nn.Module):
    """(K z)(i) = sum_j w_j kappa(i, j, z) V z_j with values V z and an output map of its own;
    subclasses say what kappa is.

    Args:
        x: (b, n, width).
        positions: (n,), real numbers, in tokens.
        weights: (b, n), each row summing to 1, equal if left out.

    Returns:
        (b, n, width).
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.head = heads, width // heads
        self.value, self.out = (
            nn.Linear(width, width, bias=False),
            nn.Linear(width, width, bias=False),
        )

    def forward(
        self,
        x: Float[Tensor, "b n width"],
        positions: Real[Tensor, " n"],
        weights: Weights | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b n width"]:
        values, kept = (
            rearrange(self.value(x), "b n (h d) -> b h n d", h=self.heads),
            () if cache is None else (cache,),
        )
        return self.out(
            rearrange(self.mix(values, x, positions, weights, *kept), "b h n d -> b n (h d)")
        )

    def mix(self, values, x, positions, weights) -> Float[Tensor, "b h n d"]:
        """sum_j w_j kappa(i, j, x) values_j."""
        raise NotImplementedError


class AttentionOperator(GlobalIntegralOperator):
    """Softmax attention as a quadrature: kappa(i, j) = exp(q_i . k_j / sqrt d) / sum_l w_l exp(q_i
    . k_l / sqrt d).

    Queries and keys are RMS-normalized and turned by their positions. Each reader i may have
    weights w_ij of its own, (b, n, m): those of what it does not see are 0. With a `cache` of
    earlier rows the readers are the last n of m. Cost n^2.
    """

    def __init__(self, width: int, heads: int, causal: bool = False):
        super().__init__(width, heads)
        self.causal = causal
        self.query_key = nn.Linear(width, 2 * width, bias=False)
        self.norms = nn.ModuleList([RMSNorm(self.head), RMSNorm(self.head)])

    def mix(self, values, x, positions, weights, cache=None):
        q, k = rearrange(self.query_key(x), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        angles = rotary_angles(positions, self.head)
        q, k = (rotate(norm(y), angles) for norm, y in zip(self.norms, (q, k)))
        if cache is not None:
            k, values = cache.extend(k, values)
        if weights is None:
            return attend(q, k, values, self.causal)
        bias = (
            weights.log()
            if weights.dim() == 3
            else weights.log()[:, None].expand(-1, x.shape[1], -1)
        )
        return attend(
            q, k, values, self.causal, bias[:, None]
        )  # softmax(s + log w) = w e^s / sum w e^s


class SpectralOperator(GlobalIntegralOperator):
    """A kernel made of a few waves, mixed wave by wave: kappa(i, j) = sum_m R_m e^{2 pi i m (p_i -
    p_j) / P}.

    The coefficients c_m = sum_j w_j V z_j e^{-2 pi i m p_j / P} of the first `modes` waves pass
    through a complex two-layer network, shared by all waves and one a head, whose small outputs are
    cut to zero, and are summed up again. Without the network the kernel depends on distance alone,
    with a peak at zero. What is linear in the network adds a second peak, at p_i = -p_j, and no
    shift, which would need another R_m for each wave. Positions repeat after the period P. On a
    full even grid the coefficients are those of torch.fft.rfft. Cost n x modes.
    """

    def __init__(
        self, width: int, heads: int, modes: int = 16, period: float = 64.0, threshold: float = 0.01
    ):
        super().__init__(width, heads)
        self.period, self.threshold = period, threshold
        self.register_buffer("waves", torch.arange(modes, dtype=torch.float32), persistent=False)
        shape = heads, 2 * self.head, 2 * self.head  # real and imaginary parts side by side
        self.first, self.second = (
            nn.Parameter(torch.randn(shape) / math.sqrt(2 * self.head)) for _ in range(2)
        )

    def mix(self, values, x, positions, weights):
        n = x.shape[1]
        phase = (2 * math.pi / self.period) * self.waves[:, None] * positions.float()
        cos, sin = phase.cos().to(values.dtype), phase.sin().to(values.dtype)
        weighed = (
            values / n if weights is None else values * weights[:, None, :, None].to(values.dtype)
        )
        coefficients = torch.cat((cos @ weighed, -(sin @ weighed)), dim=-1)
        mixed = coefficients + F.softshrink(
            F.gelu(coefficients @ self.first) @ self.second, self.threshold
        )
        real, imaginary = mixed.chunk(2, dim=-1)
        share = torch.where(self.waves > 0, 2.0, 1.0).to(values.dtype)[
            :, None
        ]  # a real function: waves -m mirror m
        return cos.T @ (share * real) - sin.T @ (share * imaginary)


class SliceOperator(GlobalIntegralOperator):
    """A kernel of low rank: positions are shared out to a few slices, slices attend to each other,
    and positions read them.

    a_ig = softmax_g(x_i . c_g),  s_g = sum_j w_j a_jg V z_j / sum_j w_j a_jg,  (K z)(i) = sum_g
    a_ig attention(s)_g
    It does not look at positions, so the order of the points is nothing to it. What a head writes
    has a rank of at most `slices`. Cost n x slices.
    """

    def __init__(self, width: int, heads: int, slices: int = 16):
        super().__init__(width, heads)
        self.share = nn.Linear(width, heads * slices, bias=False)
        self.mixing = nn.Linear(self.head, 3 * self.head, bias=False)

    def mix(self, values, x, positions, weights):
        share = rearrange(self.share(x), "b n (h g) -> b h n g", h=self.heads).softmax(-1)
        weighed = (
            share / x.shape[1]
            if weights is None
            else share * weights[:, None, :, None].to(share.dtype)
        )
        slices = weighed.mT @ values / (weighed.sum(-2)[..., None] + 1e-6)
        q, k, v = self.mixing(slices).chunk(3, dim=-1)
        return share @ (slices + attend(q, k, v))


class CausalOperator(AttentionOperator):
    """The negative control: attention that sees only what came before, as an autoregressive model
    does.
    """

    def __init__(self, width: int, heads: int):
        super().__init__(width, heads, causal=True)


KERNELS = {
    "attention": AttentionOperator,
    "spectral": SpectralOperator,
    "slice": SliceOperator,
    "causal": CausalOperator,
}


def make_operator(kernel: str, width: int, heads: int) -> GlobalIntegralOperator:
    """The operator that a name stands for.

    Args: `kernel`, one of KERNELS; `width`; `heads`. Returns the operator. Raises UserError on another name.
    Derived in chapter 11. Source: ours.
    """
    if kernel not in KERNELS:
        raise UserError(f"no kernel {kernel!r}: choose one of {', '.join(KERNELS)}")
    return KERNELS[kernel](width, heads)
