"""A small Manta-LM, as it is made, or trained for a moment on texts whose every word follows from the one before."""

from dataclasses import replace
from functools import cache

import torch

from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.vae import VAE, VAEConfig

from .small import rng

WORDS, N, LATENT = 12, 8, 6
SPACE = VAEConfig(WORDS, N, latent=LATENT, d_model=16, n_heads=2, floor=0.2)
CONFIG = MantaLMConfig(WORDS, N, d_model=16, n_heads=2, n_layers=1, space=SPACE)


def space() -> VAE:
    """A VAE whose moments are not those of the standard normal."""
    torch.manual_seed(0)
    vae = VAE(SPACE).eval()
    vae.mean.fill_(0.3)
    vae.square.fill_(1.7)
    return vae


def manta(**changes) -> MantaLM:
    """An untrained Manta-LM with open kernels and a prior."""
    beneath = space()
    torch.manual_seed(1)
    model = MantaLM(replace(CONFIG, **changes), beneath)
    with torch.no_grad():
        model.prior += torch.randn(WORDS, generator=rng(3))
        for p in model.policy.parameters():
            p += 0.1 * torch.randn(p.shape, generator=rng(p.numel()))
    return model.eval()


def texts(batch: int, seed: int = 0) -> torch.Tensor:
    """Rows <bos> a b c ... of words from 4 on, each 3 after the one before it, <eos> at the end."""
    first = torch.randint(WORDS - 4, (batch, 1), generator=rng(seed))
    tokens = 4 + (first + 3 * torch.arange(N)) % (WORDS - 4)
    tokens[:, 0], tokens[:, -1] = 1, 2
    return tokens


def fit(model, steps: int, lr: float) -> None:
    """Train on fresh texts."""
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr)
    for step in range(steps):
        optimizer.zero_grad()
        model.losses(texts(32, step), step=step, rng=rng(step)).total.backward()
        optimizer.step()
        model.after_step(step)
    model.eval()


@cache
def trained_space() -> VAE:
    torch.manual_seed(0)
    vae = VAE(SPACE)
    fit(vae, 250, 1e-2)
    return vae


@cache
def trained(head: str = "tokens") -> MantaLM:
    torch.manual_seed(1)
    model = MantaLM(replace(CONFIG, head=head, d_model=32), trained_space())
    fit(model, 300, 5e-3)
    return model
