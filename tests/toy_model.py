"""A model type in one file: masked diffusion by counting. CONTRIBUTING shows it as the example of a new model."""

from dataclasses import dataclass

import torch
from torch import nn

from minildm.models.base import LanguageModel
from minildm.models.masked import MaskedDiffusion
from minildm.tokens import MASK


@dataclass(frozen=True)
class NeighborsConfig:
    """Sizes of a model of neighbors."""

    vocab_size: int = 265  # tokens, specials included
    seq_len: int = 64  # text in tokens, padding included
    reach: int = 2  # neighbors on each side that a token depends on


class Neighbors(MaskedDiffusion):
    """A masked model without attention: scores of the tokens at fixed distances are added up."""

    title = "a model of neighbors"

    def __init__(self, config: NeighborsConfig):
        LanguageModel.__init__(self)
        self.config = config
        self.scores = nn.ModuleList(
            nn.Embedding(config.vocab_size, config.vocab_size) for _ in range(2 * config.reach)
        )
        for table in self.scores:
            nn.init.zeros_(table.weight)

    def embed(self, tokens):
        return nn.functional.one_hot(tokens, self.config.vocab_size).float()

    def logits(self, tokens):
        reach = self.config.reach
        padded = nn.functional.pad(tokens, (reach, reach))
        distances = [i for i in range(2 * reach + 1) if i != reach]
        logits = sum(
            table(padded[:, i : i + tokens.shape[1]]) for table, i in zip(self.scores, distances)
        )
        logits[..., MASK] = -torch.inf
        return logits
