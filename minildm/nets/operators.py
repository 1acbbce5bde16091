"""Global integral operators: every position reads every other, by a sum for an integral.

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
        keep: m (b, n), 1 or true at tokens and 0 or false at padding, or any measure >= 0.

    Returns:
        w (b, n).
    """
    return keep.float() / keep.float().sum(1, keepdim=True)


def weigh(rows: Float[Tensor, "b h n d"], weights: Tensor | None) -> Float[Tensor, "b h n d"]:
    """Rows times w_j, which is 1/n if left out."""
    if weights is None:
        return rows / rows.shape[-2]
    return rows * weights[:, None, :, None].to(rows.dtype)


class GlobalIntegralOperator(nn.Module):
    """(K z)(i) = sum_j w_j kappa(i, j, z) V z_j and an output map; subclasses define kappa."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.value = nn.Linear(d_model, d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "b n d_model"],
        positions: Real[Tensor, " n"],
        weights: Weights | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b n d_model"]:
        """The operator applied to a text.

        Args:
            x: z (b, n, d_model).
            positions: (n,), real numbers, in tokens.
            weights: w (b, n), each row summing to 1, equal if left out.
            cache: Earlier rows of the text, for attention only.

        Returns:
            K z (b, n, d_model).
        """
        values = rearrange(self.value(x), "b n (h d) -> b h n d", h=self.n_heads)
        cached = () if cache is None else (cache,)
        y = self.integral(values, x, positions, weights, *cached)
        return self.out(rearrange(y, "b h n d -> b n (h d)"))

    def integral(
        self, values: Tensor, x: Tensor, positions: Tensor, weights: Tensor | None
    ) -> Float[Tensor, "b h n d"]:
        """sum_j w_j kappa(i, j, x) values_j."""
        raise NotImplementedError


class AttentionOperator(GlobalIntegralOperator):
    """Softmax attention as a quadrature, kappa(i, j) = exp(s_ij) / sum_l w_l exp(s_il).

    s_ij = q_i . k_j / sqrt d, where queries and keys are RMS-normalized and turned by their
    positions. Each reader i may have weights w_ij of its own, (b, n, m), which are 0 where it reads
    nothing. With a cache of earlier rows the readers are the last n of m. Cost n^2.
    """

    def __init__(self, d_model: int, n_heads: int, causal: bool = False):
        super().__init__(d_model, n_heads)
        self.causal = causal
        self.query_key = nn.Linear(d_model, 2 * d_model, bias=False)
        self.norms = nn.ModuleList([RMSNorm(self.head_dim), RMSNorm(self.head_dim)])

    def integral(
        self,
        values: Tensor,
        x: Tensor,
        positions: Tensor,
        weights: Tensor | None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "b h n d"]:
        pair = rearrange(self.query_key(x), "b n (two h d) -> two b h n d", two=2, h=self.n_heads)
        angles = rotary_angles(positions, self.head_dim)
        q, k = (rotate(norm(y), angles) for norm, y in zip(self.norms, pair))
        if cache is not None:
            k, values = cache.extend(k, values)
        if weights is None:
            return attend(q, k, values, self.causal)
        bias = weights.log()  # softmax(s + log w) = w e^s / sum w e^s
        if bias.dim() == 2:
            bias = bias[:, None].expand(-1, x.shape[1], -1)
        return attend(q, k, values, self.causal, bias[:, None])


class SpectralOperator(GlobalIntegralOperator):
    """A kernel made of a few waves: kappa(i, j) = sum_m R_m e^{2 pi i m (p_i - p_j) / P}.

    The coefficients c_m = sum_j w_j V z_j e^{-2 pi i m p_j / P} of the first `modes` waves pass
    through a complex two-layer network, shared by all waves and one a head, whose small outputs are
    cut to zero, and are summed up again. Without the network the kernel depends on distance alone,
    with a peak at zero. What is linear in the network adds a second peak, at p_i = -p_j, and no
    shift, which would need another R_m for each wave. Positions repeat after the period P. On a
    full uniform grid the coefficients are those of torch.fft.rfft. Cost n x modes.
    """

    waves: Tensor
    threshold = 0.01  # outputs up to which are cut to zero

    def __init__(self, d_model: int, n_heads: int, modes: int = 16, period: float = 64.0):
        super().__init__(d_model, n_heads)
        self.period = period
        self.register_buffer("waves", torch.arange(modes, dtype=torch.float32), persistent=False)
        both = 2 * self.head_dim  # real and imaginary parts side by side
        self.first = nn.Parameter(torch.randn(n_heads, both, both) / math.sqrt(both))
        self.second = nn.Parameter(torch.randn(n_heads, both, both) / math.sqrt(both))

    def integral(
        self, values: Tensor, x: Tensor, positions: Tensor, weights: Tensor | None
    ) -> Float[Tensor, "b h n d"]:
        dtype = values.dtype
        phase = (2 * math.pi / self.period) * self.waves[:, None] * positions.float()
        cos = phase.cos().to(dtype)
        sin = phase.sin().to(dtype)
        weighed = weigh(values, weights)
        c = torch.cat((cos @ weighed, -(sin @ weighed)), dim=-1)
        c = c + F.softshrink(F.gelu(c @ self.first) @ self.second, self.threshold)
        real, imaginary = c.chunk(2, dim=-1)
        # the function is real, so the waves -m mirror the waves m > 0
        count = torch.where(self.waves > 0, 2.0, 1.0).to(dtype)[:, None]
        return cos.T @ (count * real) - sin.T @ (count * imaginary)


class SliceOperator(GlobalIntegralOperator):
    """A kernel of low rank: positions are summed up in a few slices, which attend to each other.

    a_ig = softmax_g(x_i . c_g),  s_g = sum_j w_j a_jg V z_j / sum_j w_j a_jg
    (K z)(i) = sum_g a_ig attention(s)_g

    Positions do not enter, so the order of the points changes nothing. What a head writes has a
    rank of at most `slices`. Cost n x slices.
    """

    def __init__(self, d_model: int, n_heads: int, slices: int = 16):
        super().__init__(d_model, n_heads)
        self.assign = nn.Linear(d_model, n_heads * slices, bias=False)
        self.qkv = nn.Linear(self.head_dim, 3 * self.head_dim, bias=False)

    def integral(
        self, values: Tensor, x: Tensor, positions: Tensor, weights: Tensor | None
    ) -> Float[Tensor, "b h n d"]:
        a = rearrange(self.assign(x), "b n (h g) -> b h n g", h=self.n_heads).softmax(-1)
        weighed = weigh(a, weights)
        slices = weighed.mT @ values / (weighed.sum(-2)[..., None] + 1e-6)
        q, k, v = self.qkv(slices).chunk(3, dim=-1)
        return a @ (slices + attend(q, k, v))


class CausalOperator(AttentionOperator):
    """The negative control: attention to earlier positions only, as in an autoregressive model."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__(d_model, n_heads, causal=True)


KERNELS: dict[str, type[GlobalIntegralOperator]] = {
    "attention": AttentionOperator,
    "spectral": SpectralOperator,
    "slice": SliceOperator,
    "causal": CausalOperator,
}


def make_operator(kernel: str, d_model: int, n_heads: int) -> GlobalIntegralOperator:
    """The operator that a name stands for.

    Args:
        kernel: One of KERNELS.
        d_model: Channels of a state.
        n_heads: How many kernels the operator has side by side.

    Returns:
        The operator, with new weights.

    Raises:
        UserError: On another name.

    Derived in chapter 11.
    """
    if kernel not in KERNELS:
        raise UserError(f"no kernel {kernel!r}: choose one of {', '.join(KERNELS)}")
    return KERNELS[kernel](d_model, n_heads)
