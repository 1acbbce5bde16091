"""A small LDLM on the states of a small GPT, far enough from its start that every gradient flows."""

import torch

from minildm.models.gpt import GPT, GPTConfig
from minildm.models.ldlm import LDLM, LDLMConfig
from minildm.models.recipe import Recipe
from minildm.nets.frozen import FrozenEncoder

VOCAB_SIZE, LENGTH = 20, 8
PARTS = ("encoder", "decoder", "token_decoder", "denoiser")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def texts(batch: int = 6) -> torch.Tensor:
    """Rows <bos> words <eos> <pad>..., from 1 word to as many as fit."""
    tokens = torch.randint(4, VOCAB_SIZE, (batch, LENGTH), generator=rng())
    tokens[:, 0] = 1
    for i, row in enumerate(tokens):
        end = 2 + i % (LENGTH - 2)
        row[end], row[end + 1 :] = 2, 0
    return tokens


def frozen_gpt() -> FrozenEncoder:
    torch.manual_seed(1)
    gpt = GPT(GPTConfig(VOCAB_SIZE, LENGTH, d_model=16, n_heads=2, n_layers=2))
    frozen = FrozenEncoder(gpt, lambda network, tokens: network.states(tokens, -2), 16)
    frozen.calibrate(texts())
    return frozen


def ldlm(recipe: Recipe = Recipe(), compression: int = 1) -> LDLM:
    frozen = frozen_gpt()
    torch.manual_seed(0)
    model = LDLM(
        LDLMConfig(
            VOCAB_SIZE,
            LENGTH,
            hidden=16,
            latent=4,
            d_model=16,
            n_heads=2,
            n_encoder_layers=1,
            n_decoder_layers=1,
            n_token_layers=1,
            n_denoiser_layers=2,
            compression=compression,
            recipe=recipe,
        ),
        frozen,
    )
    with torch.no_grad():
        for p in model.denoiser.parameters():
            p += 0.05 * torch.randn(p.shape, generator=rng(p.numel()))
    return model


def gradients(model: LDLM, term: str, step: int = 0) -> dict[str, list[torch.Tensor]]:
    """Gradient of one term of the losses, a list for each part, zero where none flows."""
    model.zero_grad()
    model.losses(texts(), step=step, rng=rng()).terms[term].backward()
    return {
        part: [
            torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for p in getattr(model, part).parameters()
        ]
        for part in PARTS
    }


def feels(grads: list[torch.Tensor]) -> bool:
    return any((g != 0).any() for g in grads)


def agrees(tokens: torch.Tensor, given: torch.Tensor):
    """The guidance target that given positions hold given words: Phi = -sum_{i given} log p_i(w_i)."""

    def cost(log_p):
        return -(log_p.gather(-1, tokens.expand(log_p.shape[:2])[..., None])[..., 0] * given).sum(1)

    return cost
