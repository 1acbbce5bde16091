"""Small untrained models of tokens for tests of studies."""

import torch

from minildm.models.gpt import GPT, GPTConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig

SIZES = {"d_model": 16, "n_heads": 2, "n_layers": 1}


def gpt(vocab_size: int = 20, seq_len: int = 8) -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(vocab_size, seq_len, **SIZES)).eval()


def masked(vocab_size: int = 20, seq_len: int = 8) -> MaskedDiffusion:
    torch.manual_seed(0)
    model = MaskedDiffusion(MaskedDiffusionConfig(vocab_size, seq_len, **SIZES)).eval()
    with torch.no_grad():
        model.embedding.weight *= 3
    return model
