"""What models measure on texts that exist: nats of tokens, and what comes back from a decoder."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..tokens import BOS, PAD


def cross_entropies(
    logits: Float[Tensor, "b n vocab_size"], tokens: Int[Tensor, "b n"]
) -> Float[Tensor, "b n"]:
    """Negative log-likelihood of each token, -log softmax(logits)_{w_i}, in nats.

    Args:
        logits: (b, n, vocab_size).
        tokens: w, (b, n) ids.

    Returns:
        Nats (b, n).
    """
    return F.cross_entropy(logits.mT, tokens, reduction="none")


def count_text(tokens: Int[Tensor, "b n"]) -> int:
    """How many tokens a model is charged for: all but the first and padding."""
    return int((tokens[:, 1:] != PAD).sum())


def at_text(nll: Float[Tensor, "b n"], tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Nats of tokens, with 0 at the first token and at padding.

    Args:
        nll: Nats (b, n).
        tokens: w, (b, n) ids.

    Returns:
        Nats (b, n).
    """
    charged = tokens != PAD
    charged[:, 0] = False
    return nll.masked_fill(~charged, 0.0)


class Faithfulness:
    """How many tokens and texts are the same after an encoder and a decoder."""

    def __init__(self):
        self.right = self.text = self.all_right = self.all = self.whole = self.rows = 0

    def add(self, read: Int[Tensor, "b n"], tokens: Int[Tensor, "b n"]) -> None:
        """Count a batch of texts, `tokens`, and what became of it, `read`."""
        same = read == tokens
        text = (tokens != PAD) & (tokens != BOS)
        self.right += int((same & text).sum())
        self.text += int(text.sum())
        self.all_right += int(same.sum())
        self.all += tokens.numel()
        self.whole += int((same | ~text).all(1).sum())
        self.rows += len(tokens)

    def figures(self) -> dict[str, float]:
        """The fractions of tokens of texts, of all tokens, and of whole texts."""
        return {
            "token_accuracy": self.right / self.text,
            "row_accuracy": self.all_right / self.all,
            "whole_texts": self.whole / self.rows,
        }
