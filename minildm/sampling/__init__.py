"""How text is drawn from a model: one sampler, which runs every model as a controlled process."""

from . import discrete, horizon, latent, manta, vae
from .sampler import Sampler

__all__ = ["Sampler", "discrete", "horizon", "latent", "manta", "vae"]
