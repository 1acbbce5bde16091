"""A codebook: tokens as Gaussians of one width, so that z_t tells of its token in closed form.

z_1 | w ~ N(m_w, s^2),  z_t = t z_1 + (1 - t) z_0  =>  z_t | w ~ N(t m_w, q)
q = t^2 s^2 + (1 - t)^2
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Codebook:
    """Means m and variances s^2 of the codes of all tokens."""

    means: Float[Tensor, "tokens d"]
    variances: Float[Tensor, " d"]  # one a channel, the same for all tokens

    def spread(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch d"]:
        """q = t^2 s^2 + (1 - t)^2, the variance of z_t around t m_w."""
        return t[..., None] ** 2 * self.variances + (1 - t[..., None]) ** 2

    def evidence(
        self, z: Float[Tensor, "*batch d"], t: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch tokens"]:
        """What a latent alone says of its token: log N(z; t m_w, q) up to a constant.

        z' q^-1 t m_w - t^2 m_w' q^-1 m_w / 2

        Args:
            z: z_t (..., d).
            t: Times (...), below 1 where s = 0.

        Returns:
            Nats (..., tokens).
        """
        precision = 1 / self.spread(t)
        t = t[..., None]
        return t * (z * precision) @ self.means.T - t**2 / 2 * precision @ self.means.square().T

    def endpoint(
        self,
        p: Float[Tensor, "*batch tokens"],
        z: Float[Tensor, "*batch d"],
        t: Float[Tensor, "*batch"],
    ) -> Float[Tensor, "*batch d"]:
        """The posterior mean E[z_1 | z_t] of a latent whose token is w with probability p_w.

        z_hat = m + K (z - t m),  m = sum_w p_w m_w,  K = t s^2 / q

        Args:
            p: Probabilities (..., tokens).
            z: z_t (..., d).
            t: Times (...), below 1 where s = 0.

        Returns:
            z_hat (..., d).

        Derived in chapter 13.
        """
        m = p @ self.means
        return m + t[..., None] * self.variances / self.spread(t) * (z - t[..., None] * m)
